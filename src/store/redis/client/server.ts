import type { Clock } from '../../../common/clock.js';
import { createServerClient } from './ioredis-factory.js';
import { formatAddress, type Address, type RedisTarget } from '../../../config/redis-url.js';
import { ReplicaWait } from './replica-wait.js';
import { type ConnectionEvents, ServerConnection } from './server-connection.js';

export interface RunnableScript {
  readonly source: string;
  /** SHA-1 of the source, by which EVALSHA names it. */
  readonly sha: string;
  /** Whether strings in its reply are returned as bytes, else as UTF-8. */
  readonly repliesInBytes?: boolean;
}
export type ScriptArguments = readonly (string | number | Buffer)[];

export interface ServerEvents {
  /** The connection for writes is up, for the first time or again. */
  onUp(server: Server): void;
  onDown(server: Server, reason: string): void;
  onSubscriptionsUp(server: Server): void;
  onSubscriptionsDown(server: Server): void;
  /** The slot of some channel has moved to another server. */
  onSlotMoved(server: Server): void;
}

export interface ServerOptions {
  readonly clock: Clock;
  /** Whether a write resolves only when a replica has it. */
  readonly replicated: boolean;
  readonly onMessage: (channel: Buffer, message: Buffer) => void;
}

/** A Redis server, or the one that the sentinels name: three connections, so that none waits for the others. */
export class Server {
  readonly name: string;
  readonly writes: ServerConnection;
  readonly queries: ServerConnection;
  readonly subscriptions: ServerConnection;
  readonly #replicaWait: ReplicaWait | null;

  constructor(
    target: RedisTarget,
    readonly address: Address,
    options: ServerOptions,
    events: ServerEvents,
  ) {
    const { clock, replicated, onMessage } = options;
    const name = target.kind === 'sentinel' ? target.master : formatAddress(address);
    const connect = (purpose: 'writes' | 'queries' | 'subscriptions', on: ConnectionEvents): ServerConnection =>
      new ServerConnection(createServerClient(target, purpose, address), name, clock, on);
    this.name = name;
    this.writes = connect('writes', {
      onUp: () => events.onUp(this),
      onDown: (reason) => events.onDown(this, reason),
    });
    this.queries = connect('queries', { onUp: () => undefined, onDown: () => undefined });
    this.subscriptions = connect('subscriptions', {
      onUp: () => events.onSubscriptionsUp(this),
      onDown: () => events.onSubscriptionsDown(this),
    });
    this.subscriptions.onMessage(onMessage);
    this.subscriptions.onSlotMoved(() => events.onSlotMoved(this));
    this.#replicaWait = replicated ? new ReplicaWait(this.writes, clock) : null;
  }

  get isUp(): boolean {
    return this.writes.isUp && this.queries.isUp && this.subscriptions.isUp;
  }

  get lastError(): string {
    return [this.writes, this.queries, this.subscriptions].find(({ isUp }) => !isUp)?.lastError ?? '';
  }

  async write(
    script: RunnableScript,
    keys: readonly string[],
    args: ScriptArguments,
    asking: boolean,
  ): Promise<unknown> {
    let replicated: Promise<void> | undefined;
    const reply = await runScript(this.writes, script, keys, args, asking, () => {
      replicated = this.#replicaWait?.replicated();
      // If the script itself fails, its own error is thrown.
      replicated?.catch(() => undefined);
    });
    await replicated;
    return reply;
  }

  query(script: RunnableScript, keys: readonly string[], args: ScriptArguments, asking: boolean): Promise<unknown> {
    return runScript(this.queries, script, keys, args, asking, () => undefined);
  }

  /** Makes all connections again, because the server hangs or is no primary any more. */
  drop(reason: string): void {
    for (const connection of [this.writes, this.queries, this.subscriptions]) connection.drop(reason);
  }

  async close(): Promise<void> {
    await Promise.all([this.writes.close(), this.queries.close(), this.subscriptions.close()]);
  }
}

/** Calls the script by its hash, or, if the server lacks it, by its source over the same socket: so it runs at most once. */
async function runScript(
  connection: ServerConnection,
  { sha, source, repliesInBytes }: RunnableScript,
  keys: readonly string[],
  args: ScriptArguments,
  asking: boolean,
  onSent: () => void,
): Promise<unknown> {
  const send = (command: string, script: string): Promise<unknown> => {
    // ASKING holds for the next command of the socket, and the two are sent together.
    if (asking) connection.sendCommand('asking', []).catch(() => undefined);
    const all = [script, keys.length, ...keys, connection.runId, ...args];
    const reply = connection.sendCommand(command, all, repliesInBytes);
    onSent();
    return reply;
  };
  if (!connection.isUp) throw new Error(`${connection.name}: not connected (${connection.lastError})`);
  const { socketNumber } = connection;
  try {
    return await send('evalsha', sha);
  } catch (error) {
    const isUnknown = error instanceof Error && error.message.startsWith('NOSCRIPT');
    if (!isUnknown || socketNumber !== connection.socketNumber) throw error;
    return await send('eval', source);
  }
}
