import type { Redis } from 'ioredis';
import type { Clock, Timer } from '../../../common/clock.js';

/**
 * How long a command may take. Far more than any script of ours; short enough that a server that hangs is left before
 * clients give up (5 s).
 */
const COMMAND_MS = 1_500;
/** One that answers others meanwhile is busy, and waited for this long. */
const BUSY_MS = 4_000;
/** From the socket's connect to the first answer to INFO: the login, too. */
const HANDSHAKE_MS = 3_000;
const PROBE_MS = 1_000;
/** ioredis gives up where it should not, e.g. when left while it asks sentinels: it is started again. */
const REVIVE_MS = 500;
/** Without a last error all have answered, with nothing. */
const ALL_SENTINELS = /^All sentinels are unreachable.*?(?: Last error: (.*))?$/s;
/** Sockets end by themselves long before. */
const CLOSE_MS = 3_000;

export interface ConnectionEvents {
  /** The server answers: for the first time, or again. */
  isUp(): void;
  down(reason: string): void;
}

/**
 * One connection to a server: commands go over it in the order they are sent, or are rejected. What is rejected may
 * have been done nevertheless. After a deadline of its own the connection is dropped, and made again.
 *
 *   waits ── socket, login, INFO ──▶ up ── closed, or a command's deadline ──▶ waits …
 */
export class ServerConnection {
  #up = false;
  #session = 0;
  #runId = '';
  #answeredAtMs = -Infinity;
  #closed = false;
  #lastError = '';
  #handshake: Timer | null = null;
  #probe: Timer | null = null;

  constructor(
    private readonly client: Redis,
    /** For messages. */
    readonly name: string,
    private readonly clock: Clock,
    private readonly events: ConnectionEvents,
  ) {
    client.on('error', (error: Error) => (this.#lastError = reasonOf(error)));
    client.on('connect', () => this.#watchHandshake());
    client.on('ready', () => void this.#greet());
    client.on('close', () => this.#lost(this.#lastError === '' ? 'closed' : this.#lastError));
    client.on('end', () => this.#revive());
    this.#connect();
    this.#probeLater();
  }

  /** Whether commands can be sent. */
  get isUp(): boolean {
    return this.#up;
  }

  /** Changes with every socket: what was sent in the same session went over the same one. */
  get socketNumber(): number {
    return this.#session;
  }

  /** Names this life of the server, 40 hex digits. Empty until it is up for the first time. */
  get runId(): string {
    return this.#runId;
  }

  /** `address:port` of the other side. */
  get remoteAddress(): string {
    // There is none before the first attempt to connect, whatever its type says.
    const stream = this.client.stream as Redis['stream'] | undefined;
    return `${stream?.remoteAddress ?? ''}:${stream?.remotePort ?? ''}`;
  }

  /** Why it is not up. */
  get lastError(): string {
    return this.#lastError;
  }

  /** Rejects at once when not up, and after BUSY_MS in any case. Errors hold no arguments. Strings in the reply are UTF-8, or `bytes`. */
  sendCommand(name: string, args: readonly (string | number | Buffer)[], bytes = false): Promise<unknown> {
    if (!this.#up) return Promise.reject(new Error(`${this.name}: not connected (${this.#lastError})`));
    return this.#send(name, args, bytes);
  }

  /** Messages of the channels that this connection is subscribed to. */
  onMessage(call: (channel: Buffer, message: Buffer) => void): void {
    this.client.on('smessageBuffer', call);
  }

  /** A channel's slot has another server now. */
  onSlotMoved(call: () => void): void {
    this.client.on('moved', call);
  }

  /** Leaves the server, which may hang or be deposed, and connects again; who is primary is asked again. */
  drop(reason: string): void {
    this.#lastError = reason;
    this.#lost(reason);
    // In other states there is no socket that could hang, or ioredis ends by its own deadline; and it would be ended for good.
    if (this.client.status === 'ready' || this.client.status === 'connect') this.client.disconnect(true);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#up = false;
    this.#session += 1;
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
    const session = this.#session;
    const sentAtMs = this.clock.nowMs();
    return new Promise((resolve, reject) => {
      // ioredis may never settle a command whose connection was lost at the wrong moment. When it is us who were slow, the
      // answer may be there already: what has arrived is read first.
      const watch = (ms: number): Timer => this.clock.after(ms, () => this.clock.soon(expire));
      let deadline: Timer | null = watch(COMMAND_MS);
      const expire = (): void => {
        if (deadline === null) return;
        const now = this.clock.nowMs();
        const silentMs = now - Math.max(this.#answeredAtMs, sentAtMs);
        if (silentMs < COMMAND_MS && now - sentAtMs < BUSY_MS) {
          deadline = watch(Math.min(COMMAND_MS - silentMs, BUSY_MS - (now - sentAtMs)));
          return;
        }
        const reason = `no answer to ${name} within ${Math.round(now - sentAtMs)} ms`;
        reject(new Error(`${this.name}: ${reason}`));
        if (session === this.#session) this.drop(reason);
      };
      const answered = (): void => {
        this.#answeredAtMs = this.clock.nowMs();
        deadline?.cancel();
        deadline = null;
      };
      this.#cork();
      const all = args as (string | number | Buffer)[];
      (bytes ? this.client.callBuffer(name, all) : this.client.call(name, all)).then(
        (reply) => {
          answered();
          resolve(reply);
        },
        (error: unknown) => {
          answered();
          reject(new Error(reasonOf(error)));
        },
      );
    });
  }

  /** What is sent in one turn leaves in one write. */
  #cork(): void {
    const { stream } = this.client;
    if (stream.writableCorked > 0) return;
    stream.cork();
    process.nextTick(() => stream.uncork());
  }

  /** What every new socket starts with: whose is it? */
  async #greet(): Promise<void> {
    const session = ++this.#session;
    try {
      const runId = /^run_id:(\w+)/m.exec(String(await this.#send('info', ['server'])))?.[1];
      if (session !== this.#session) return;
      if (runId === undefined) throw new Error('INFO server has no run_id');
      this.#runId = runId;
      this.#lastError = '';
      this.#up = true;
      this.#handshake?.cancel();
      this.events.isUp();
    } catch (error) {
      if (session === this.#session) this.drop(reasonOf(error));
    }
  }

  #lost(reason: string): void {
    this.#session += 1;
    this.#handshake?.cancel();
    if (!this.#up) return;
    this.#up = false;
    this.#lastError = reason;
    this.events.down(reason);
  }

  #watchHandshake(): void {
    this.#handshake?.cancel();
    this.#handshake = this.clock.after(HANDSHAKE_MS, () => {
      if (!this.#up) this.drop(this.#lastError === '' ? 'connected, but no answer' : this.#lastError);
    });
  }

  /** Finds out, without traffic, that the server hangs. */
  #probeLater(): void {
    this.#probe = this.clock.after(PROBE_MS, () => {
      if (this.#up) void this.#send('ping', []).catch(() => undefined);
      this.#probeLater();
    });
  }

  #connect(): void {
    // Why it failed comes as 'error'.
    this.client.connect().catch(() => undefined);
  }

  #revive(): void {
    if (!this.#closed)
      this.clock.after(REVIVE_MS, () => {
        if (!this.#closed && this.client.status === 'end') this.#connect();
      });
  }
}

/** One line, without the command's arguments, which errors of ioredis carry: a login is among them. */
function reasonOf(error: unknown): string {
  // By its shape, for errors of Node itself are of another realm in tests.
  const { name, message, errors } = error as { name?: string; message?: string; errors?: readonly unknown[] };
  if (name === 'MaxRetriesPerRequestError') return 'the connection was lost';
  // One for each address of a name.
  if (message === '' && errors !== undefined) return reasonOf(errors.at(-1));
  const sentinels = ALL_SENTINELS.exec(message ?? '');
  if (sentinels !== null) return sentinelReason(sentinels[1] ?? 'No such master');
  return (message ?? String(error)).split('\n')[0]!;
}

function sentinelReason(lastError: string): string {
  if (lastError.includes('No such master')) return 'the sentinels know no primary of that name';
  if (lastError.includes("unknown command 'sentinel'")) return 'these are not sentinels; use redis://';
  return `no sentinel answers: ${lastError.split('\n')[0]!}`;
}
