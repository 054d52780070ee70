import type { Clock } from '../../../common/clock.js';
import { createServerClient } from './ioredis-factory.js';
import { formatAddress, type Address, type RedisTarget } from '../../../config/redis-url.js';
import { ReplicaWait } from './replica-wait.js';
import { ServerConnection } from './server-connection.js';

export interface RunnableScript {
  readonly source: string;
  /** SHA-1 of the source, by which EVALSHA names it. */
  readonly sha: string;
  /** Whether texts of its reply are bytes; else they are UTF-8. */
  readonly repliesInBytes?: boolean;
}
export type ScriptArguments = readonly (string | number | Buffer)[];

export interface ServerEvents {
  /** The connection for writes is up, for the first time or again. */
  up(server: Server): void;
  down(server: Server, reason: string): void;
  subscriptionsUp(server: Server): void;
  subscriptionsDown(server: Server): void;
  /** Some channel's slot has moved elsewhere. */
  subscriptionsMoved(server: Server): void;
}

export interface ServerOptions {
  readonly clock: Clock;
  /** Whether writes are confirmed by a replica. */
  readonly replicated: boolean;
  readonly onMessage: (channel: Buffer, message: Buffer) => void;
}

/** A Redis server, or whoever the sentinels say it is: three connections, so that none waits for the others. */
export class Server {
  readonly name: string;
  readonly writes: ServerConnection;
  readonly queries: ServerConnection;
  readonly subscriptions: ServerConnection;
  readonly #replication: ReplicaWait | null;

  constructor(
    target: RedisTarget,
    readonly address: Address,
    options: ServerOptions,
    events: ServerEvents,
  ) {
    const { clock, replicated, onMessage } = options;
    this.name = target.kind === 'sentinel' ? target.master : formatAddress(address);
    this.writes = new ServerConnection(createServerClient(target, 'writes', address), this.name, clock, {
      isUp: () => events.up(this),
      down: (reason) => events.down(this, reason),
    });
    this.queries = new ServerConnection(createServerClient(target, 'queries', address), this.name, clock, {
      isUp: () => undefined,
      down: () => undefined,
    });
    this.subscriptions = new ServerConnection(createServerClient(target, 'subscriptions', address), this.name, clock, {
      isUp: () => events.subscriptionsUp(this),
      down: () => events.subscriptionsDown(this),
    });
    this.subscriptions.onMessage(onMessage);
    this.subscriptions.onSlotMoved(() => events.subscriptionsMoved(this));
    this.#replication = replicated ? new ReplicaWait(this.writes, clock) : null;
  }

  get up(): boolean {
    return this.writes.isUp && this.queries.isUp && this.subscriptions.isUp;
  }

  get lastError(): string {
    return [this.writes, this.queries, this.subscriptions].find(({ isUp: up }) => !up)?.lastError ?? '';
  }

  async write(
    script: RunnableScript,
    keys: readonly string[],
    args: ScriptArguments,
    asking: boolean,
  ): Promise<unknown> {
    let confirmed: Promise<void> | undefined;
    const reply = await runScript(this.writes, script, keys, args, asking, () => {
      confirmed = this.#replication?.confirmed();
      // What counts is told by the script's own answer first.
      confirmed?.catch(() => undefined);
    });
    await confirmed;
    return reply;
  }

  query(script: RunnableScript, keys: readonly string[], args: ScriptArguments, asking: boolean): Promise<unknown> {
    return runScript(this.queries, script, keys, args, asking, () => undefined);
  }

  /** The server hangs or was deposed: all its connections are made again. */
  drop(reason: string): void {
    for (const connection of [this.writes, this.queries, this.subscriptions]) connection.drop(reason);
  }

  async close(): Promise<void> {
    await Promise.all([this.writes.close(), this.queries.close(), this.subscriptions.close()]);
  }
}

/** By its hash, or, where the server does not know that, by its source over the same socket: so it runs at most once. */
async function runScript(
  connection: ServerConnection,
  { sha, source, repliesInBytes: bytes }: RunnableScript,
  keys: readonly string[],
  args: ScriptArguments,
  asking: boolean,
  sent: () => void,
): Promise<unknown> {
  const send = (command: string, script: string): Promise<unknown> => {
    // Holds for the next command of the socket, and the two leave together.
    if (asking) connection.sendCommand('asking', []).catch(() => undefined);
    const reply = connection.sendCommand(command, [script, keys.length, ...keys, connection.runId, ...args], bytes);
    sent();
    return reply;
  };
  if (!connection.isUp) throw new Error(`${connection.name}: not connected (${connection.lastError})`);
  const { socketNumber: session } = connection;
  try {
    return await send('evalsha', sha);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT') || session !== connection.socketNumber)
      throw error;
    return await send('eval', source);
  }
}
