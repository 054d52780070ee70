import type { MineEvent, Update } from '../../src/protocol/messages.js';
import { Backoff } from './backoff.js';
import type { Environment, Timer } from './environment.js';
import { LiveCountsError } from './errors.js';
import type { TransportConnection, Credentials, CloseReason, Transport } from './transport.js';

/** Half of the first wait, on average; long enough for a balancer to notice that a gateway is gone. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
/** After a refusal that time alone does not mend; a token may have been renewed by then. */
const REFUSED_MS = 30_000;
/** How long a hidden page stays connected. */
const HIDDEN_MS = 30_000;
/** Attempts with the preferred transport before the next is tried, too. */
const PREFERRED_ATTEMPTS = 2;
/** How long the second choice is used before the preferred transport is tried beside it, and at most between tries. */
const PROBE_MS = 5_000;
const LONGEST_PROBE_MS = 600_000;

/** Operations that are not acknowledged. */
interface UnacknowledgedWork {
  /** The transport over which one with an unknown outcome must be repeated: it comes first. */
  readonly boundTransport: Transport['kind'] | undefined;
  /** How many there are: a reason to stay connected while nobody looks. */
  readonly size: number;
}

interface ReconnectingConnectionListener {
  opened(connection: TransportConnection, kind: Transport['kind']): void;
  lost(): void;
  counts(updates: readonly Update[]): void;
  mine(event: MineEvent): void;
  failed(error: LiveCountsError): void;
  /** The gateway does not want this client, and asking again soon would not help. */
  refused(error: LiveCountsError): void;
}

interface Attempt {
  readonly transport: Transport;
  connection?: TransportConnection;
  open: boolean;
  /** Something was answered over it. */
  proven: boolean;
}

/**
 * Keeps one connection to the gateway, for as long as it is wanted:
 *
 *              start                opened
 *     idle ───────────▶ connecting ─────────▶ open
 *      ▲                 ▲      │ closed       │ closed
 *      │ page shown      │      ▼              │
 *     asleep           waiting ◀───────────────┘   backoff; after a `bye` as long as the gateway asked
 *
 * The transports are in order of preference. The second is tried when the first has failed twice, in turn with it; once
 * connected by the second, the first is tried beside it from time to time, and takes over when it gets through.
 */
export class ReconnectingConnection {
  readonly #backoff: Backoff;
  readonly #stopWatching: (() => void) | undefined;
  #phase: 'idle' | 'running' | 'asleep' | 'closed' = 'idle';
  #current: Attempt | undefined;
  #probe: Attempt | undefined;
  #failures = 0;
  #refusals = 0;
  #probeMs = PROBE_MS;
  #waiting: Timer | undefined;
  /** The gateway has asked to be left alone for as long as this waits. */
  #isAsked = false;
  #probing: Timer | undefined;
  #sleeping: Timer | undefined;

  constructor(
    private readonly transports: readonly Transport[],
    private readonly environment: Environment,
    private readonly credentials: (refused: boolean) => Promise<Credentials>,
    private readonly work: UnacknowledgedWork,
    private readonly listener: ReconnectingConnectionListener,
  ) {
    this.#backoff = new Backoff(environment.random, FIRST_WAIT_MS, LONGEST_WAIT_MS);
    this.#stopWatching = environment.page?.onChange(() => this.#pageChanged());
  }

  /** Connects, if it has not begun to, or sleeps. */
  start(): void {
    if (this.#phase === 'running' || this.#phase === 'closed') return;
    this.#phase = 'running';
    if (this.environment.page?.hidden) this.#pageChanged();
    void this.#connect();
  }

  /** Something was answered, so this client is welcome. */
  markProven(): void {
    this.#refusals = 0;
    this.#failures = 0;
    this.#backoff.reset();
    if (this.#current) this.#current.proven = true;
  }

  close(): void {
    this.#phase = 'closed';
    this.#stopWatching?.();
    this.#sleeping?.cancel();
    this.#disconnect();
  }

  #disconnect(): void {
    this.#waiting?.cancel();
    this.#waiting = undefined;
    this.#endProbe();
    this.#current?.connection?.close();
    this.#current = undefined;
  }

  #endProbe(): void {
    this.#probing?.cancel();
    this.#probe?.connection?.close();
    this.#probe = undefined;
  }

  #choose(): Transport {
    const { transports, work } = this;
    const first = transports.findIndex(({ kind }) => kind === work.boundTransport);
    const turn = Math.max(0, first) + Math.max(0, this.#failures - PREFERRED_ATTEMPTS + 1);
    return transports[turn % transports.length]!;
  }

  async #connect(): Promise<void> {
    this.#waiting = undefined;
    const attempt: Attempt = { transport: this.#choose(), open: false, proven: false };
    this.#current = attempt;
    await this.#open(attempt);
  }

  async #open(attempt: Attempt): Promise<void> {
    const isWanted = (): boolean => attempt === this.#current || attempt === this.#probe;
    let credentials: Credentials;
    try {
      credentials = await this.credentials(this.#refusals > 0);
    } catch (error) {
      if (!isWanted()) return;
      this.listener.failed(new LiveCountsError('TOKEN', error instanceof Error ? error.message : String(error)));
      this.#closed(attempt, {});
      return;
    }
    if (!isWanted()) return;
    try {
      attempt.connection = attempt.transport.connect(credentials, {
        opened: () => this.#opened(attempt),
        counts: (updates) => attempt === this.#current && this.listener.counts(updates),
        mine: (event) => attempt === this.#current && this.listener.mine(event),
        closed: (ending) => this.#closed(attempt, ending),
      });
    } catch {
      // A WebSocket that the page's policy forbids, or an insecure one on a secure page.
      this.#closed(attempt, {});
    }
  }

  #opened(attempt: Attempt): void {
    if (attempt === this.#probe) {
      // An operation on its way by HTTP would not be recognised on a socket.
      const { boundTransport: boundTo = attempt.transport.kind } = this.work;
      if (boundTo !== attempt.transport.kind) {
        this.#endProbe();
        this.#probeLater();
        return;
      }
      this.#probe = undefined;
      this.#current?.connection?.close();
      this.#current = attempt;
    }
    if (attempt !== this.#current) return;
    attempt.open = true;
    if (attempt.transport !== this.transports[0]) this.#probeLater();
    else this.#probeMs = PROBE_MS;
    this.listener.opened(attempt.connection!, attempt.transport.kind);
  }

  #closed(attempt: Attempt, ending: CloseReason): void {
    if (attempt === this.#probe) {
      this.#probe = undefined;
      this.#probeLater();
    }
    if (attempt !== this.#current) return;
    this.#endProbe();
    this.#current = undefined;
    if (attempt.open) this.listener.lost();
    // What lets connections open and nothing through is as good as closed.
    if (!attempt.proven) this.#failures++;
    this.#wait(this.#waitMs(ending));
  }

  #waitMs({ error, retryAfterMs }: CloseReason): number {
    if (error && !error.retryable) {
      const cause = LiveCountsError.from(error);
      this.listener.failed(cause);
      // The first time the token may just have grown old.
      if (++this.#refusals === 1) return 0;
      this.listener.refused(cause);
      this.#isAsked = true;
      return REFUSED_MS;
    }
    const askedMs = retryAfterMs ?? error?.retryAfterMs;
    this.#isAsked = askedMs !== undefined;
    // Who is asked back at a time gets a time of its own from the gateway already.
    return askedMs === undefined ? this.#backoff.next() : askedMs * (1 + this.environment.random() / 10);
  }

  #wait(ms: number): void {
    if (this.#phase !== 'running') return;
    this.#waiting = this.environment.clock.after(ms, () => void this.#connect());
  }

  #probeLater(): void {
    this.#probing?.cancel();
    if (this.#current?.transport === this.transports[0]) return;
    this.#probing = this.environment.clock.after(this.#probeMs, () => {
      this.#probeMs = Math.min(2 * this.#probeMs, LONGEST_PROBE_MS);
      this.#probe = { transport: this.transports[0]!, open: false, proven: false };
      void this.#open(this.#probe);
    });
  }

  /** It was hidden or shown, or its network came back. */
  #pageChanged(): void {
    this.#sleeping?.cancel();
    if (this.environment.page?.hidden) {
      this.#sleeping = this.environment.clock.after(HIDDEN_MS, () => this.#sleep());
    } else if (this.#waiting && !this.#isAsked) {
      // Who looks, or has a network again, is not kept waiting for long, unless the gateway wants it.
      this.#waiting.cancel();
      this.#backoff.reset();
      this.#wait(this.#backoff.next());
    } else if (this.#phase === 'asleep') {
      this.start();
    }
  }

  #sleep(): void {
    if (this.#phase !== 'running') return;
    if (this.work.size > 0) return this.#pageChanged();
    this.#phase = 'asleep';
    const open = this.#current?.open;
    this.#disconnect();
    if (open) this.listener.lost();
  }
}
