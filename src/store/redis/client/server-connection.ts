import type { Redis } from 'ioredis';
import type { Clock, Timer } from '../../../common/clock.js';

/**
 * How long a command may take. Far more than any of our scripts; short enough to leave a server that hangs before clients
 * give up (5 s).
 */
const COMMAND_MS = 1_500;
/** The same for a server that meanwhile replies to others: it is busy. */
const BUSY_MS = 4_000;
/** From the socket's connect to the reply to INFO, the login included. */
const HANDSHAKE_MS = 3_000;
const PROBE_MS = 1_000;
/** ioredis gives up where it should not, e.g. when it is disconnected during a call to a sentinel. Then it is started again after this. */
const REVIVE_MS = 500;
/** Without a last error all sentinels have replied, and name no primary. */
const ALL_SENTINELS = /^All sentinels are unreachable.*?(?: Last error: (.*))?$/s;
/** Longest wait for the end of the socket, which usually comes at once. */
const CLOSE_MS = 3_000;

export interface ConnectionEvents {
  /** The server has replied, for the first time or again. */
  onUp(): void;
  onDown(reason: string): void;
}

/**
 * One connection to a server. Commands are sent in order, or are rejected; a rejected one may have been executed. When a command
 * has no reply by its deadline, the connection is dropped and made again.
 *
 *   waits ── socket, login, INFO ──▶ up ── closed, or a command's deadline ──▶ waits …
 */
export class ServerConnection {
  #isUp = false;
  #socketNumber = 0;
  #runId = '';
  #repliedAtMs = -Infinity;
  #isClosed = false;
  #lastError = '';
  #handshake: Timer | null = null;
  #probe: Timer | null = null;

  constructor(
    private readonly client: Redis,
    /** The server's, for messages. */
    readonly name: string,
    private readonly clock: Clock,
    private readonly events: ConnectionEvents,
  ) {
    client.on('error', (error: Error) => (this.#lastError = describeError(error)));
    client.on('connect', () => this.#watchHandshake());
    client.on('ready', () => void this.#readRunId());
    client.on('close', () => this.#connectionLost(this.#lastError === '' ? 'closed' : this.#lastError));
    client.on('end', () => this.#revive());
    this.#connect();
    this.#probeLater();
  }

  /** Whether commands can be sent. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Another for each socket: what was sent under the same number went over the same one. */
  get socketNumber(): number {
    return this.#socketNumber;
  }

  /** The server process, in 40 hex digits. Empty until the connection is up for the first time. */
  get runId(): string {
    return this.#runId;
  }

  /** `address:port` of the server. */
  get remoteAddress(): string {
    // Contrary to its type, there is no stream before the first attempt to connect.
    const stream = this.client.stream as Redis['stream'] | undefined;
    return `${stream?.remoteAddress ?? ''}:${stream?.remotePort ?? ''}`;
  }

  /** Why the connection is not up. */
  get lastError(): string {
    return this.#lastError;
  }

  /**
   * Rejects at once when the connection is not up, and after BUSY_MS in any case. Errors contain no arguments.
   * @param bytes  whether strings in the reply are returned as bytes, else as UTF-8
   */
  sendCommand(name: string, args: readonly (string | number | Buffer)[], bytes = false): Promise<unknown> {
    if (!this.#isUp) return Promise.reject(new Error(`${this.name}: not connected (${this.#lastError})`));
    return this.#send(name, args, bytes);
  }

  /** @param call  called with messages of the channels that this connection is subscribed to */
  onMessage(call: (channel: Buffer, message: Buffer) => void): void {
    this.client.on('smessageBuffer', call);
  }

  /** @param call  called when the slot of a subscribed channel has moved to another server */
  onSlotMoved(call: () => void): void {
    this.client.on('moved', call);
  }

  /** Leaves the server, which may hang or be no primary any more, and connects again, to the primary that the sentinels name then. */
  drop(reason: string): void {
    this.#lastError = reason;
    this.#connectionLost(reason);
    // In other states there is no socket that could hang, or ioredis has a deadline of its own; and this would end it for good.
    if (this.client.status === 'ready' || this.client.status === 'connect') this.client.disconnect(true);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isUp = false;
    this.#socketNumber += 1;
    this.#handshake?.cancel();
    this.#probe?.cancel();
    if (this.client.status === 'end') return;
    const socketOpen = this.client.status !== 'reconnecting' && this.client.status !== 'close';
    let timer: Timer | undefined;
    const ended = new Promise<void>((resolve) => {
      this.client.once('end', resolve);
      if (socketOpen) timer = this.clock.after(CLOSE_MS, resolve);
      else this.clock.soon(resolve);
    });
    this.client.disconnect();
    await ended;
    timer?.cancel();
  }

  #send(name: string, args: readonly (string | number | Buffer)[], bytes = false): Promise<unknown> {
    const socketNumber = this.#socketNumber;
    const sentAtMs = this.clock.nowMs();
    return new Promise((resolve, reject) => {
      // ioredis may never settle a command whose connection was lost at the wrong moment. If this process was slow, the reply
      // may have arrived already: `soon` reads it first.
      const watch = (ms: number): Timer => this.clock.after(ms, () => this.clock.soon(expire));
      let deadline: Timer | null = watch(COMMAND_MS);
      const expire = (): void => {
        if (deadline === null) return;
        const now = this.clock.nowMs();
        const silentMs = now - Math.max(this.#repliedAtMs, sentAtMs);
        if (silentMs < COMMAND_MS && now - sentAtMs < BUSY_MS) {
          deadline = watch(Math.min(COMMAND_MS - silentMs, BUSY_MS - (now - sentAtMs)));
          return;
        }
        const reason = `no reply to ${name} within ${Math.round(now - sentAtMs)} ms`;
        reject(new Error(`${this.name}: ${reason}`));
        if (socketNumber === this.#socketNumber) this.drop(reason);
      };
      const onReply = (): void => {
        this.#repliedAtMs = this.clock.nowMs();
        deadline?.cancel();
        deadline = null;
      };
      this.#cork();
      const all = args as (string | number | Buffer)[];
      (bytes ? this.client.callBuffer(name, all) : this.client.call(name, all)).then(
        (reply) => {
          onReply();
          resolve(reply);
        },
        (error: unknown) => {
          onReply();
          reject(new Error(describeError(error)));
        },
      );
    });
  }

  /** Sends all commands of one turn in one write to the socket. */
  #cork(): void {
    const { stream } = this.client;
    if (stream.writableCorked > 0) return;
    stream.cork();
    process.nextTick(() => stream.uncork());
  }

  /** Finds out which server process a new socket leads to. */
  async #readRunId(): Promise<void> {
    const socketNumber = ++this.#socketNumber;
    try {
      const runId = /^run_id:(\w+)/m.exec(String(await this.#send('info', ['server'])))?.[1];
      if (socketNumber !== this.#socketNumber) return;
      if (runId === undefined) throw new Error('INFO server has no run_id');
      this.#runId = runId;
      this.#lastError = '';
      this.#isUp = true;
      this.#handshake?.cancel();
      this.events.onUp();
    } catch (error) {
      if (socketNumber === this.#socketNumber) this.drop(describeError(error));
    }
  }

  #connectionLost(reason: string): void {
    this.#socketNumber += 1;
    this.#handshake?.cancel();
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#lastError = reason;
    this.events.onDown(reason);
  }

  #watchHandshake(): void {
    this.#handshake?.cancel();
    this.#handshake = this.clock.after(HANDSHAKE_MS, () => {
      if (!this.#isUp) this.drop(this.#lastError === '' ? 'connected, but no reply' : this.#lastError);
    });
  }

  /** Detects that the server hangs even without traffic. */
  #probeLater(): void {
    this.#probe = this.clock.after(PROBE_MS, () => {
      if (this.#isUp) void this.#send('ping', []).catch(() => undefined);
      this.#probeLater();
    });
  }

  #connect(): void {
    // The reason comes as an 'error' event.
    this.client.connect().catch(() => undefined);
  }

  #revive(): void {
    if (!this.#isClosed)
      this.clock.after(REVIVE_MS, () => {
        if (!this.#isClosed && this.client.status === 'end') this.#connect();
      });
  }
}

/** One line, without the command's arguments, such as a login, which errors of ioredis carry. */
function describeError(error: unknown): string {
  // Not `instanceof`, because errors of Node itself are of another realm in tests.
  const { name, message, errors } = error as { name?: string; message?: string; errors?: readonly unknown[] };
  if (name === 'MaxRetriesPerRequestError') return 'the connection was lost';
  // One error for each address of a name.
  if (message === '' && errors !== undefined) return describeError(errors.at(-1));
  const sentinels = ALL_SENTINELS.exec(message ?? '');
  if (sentinels !== null) return describeSentinelError(sentinels[1] ?? 'No such master');
  return (message ?? String(error)).split('\n')[0]!;
}

function describeSentinelError(lastError: string): string {
  if (lastError.includes('No such master')) return 'the sentinels know no primary of that name';
  if (lastError.includes("unknown command 'sentinel'")) return 'these are not sentinels; use redis://';
  return `no sentinel answers: ${lastError.split('\n')[0]!}`;
}
