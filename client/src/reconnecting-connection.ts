import type { ErrorBody } from '../../src/protocol/errors.js';
import type { MineEvent, Update } from '../../src/protocol/messages.js';
import { Backoff } from './backoff.js';
import type { Environment, Timer } from './environment.js';
import { LiveCountsError } from './errors.js';
import type { TransportConnection, Credentials, CloseReason, Transport } from './transport.js';

/** The limit of the first wait; the average is half of it, enough for a balancer to notice that a gateway is down. */
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** The wait after a rejection that is not retryable; a token may have been renewed by then. */
const REFUSED_MS = 30_000;
/** Time that a hidden page stays connected. */
const HIDDEN_MS = 30_000;
/** Attempts with the preferred transport before the next one is tried, too. */
const PREFERRED_ATTEMPTS = 2;
/** The second transport is used this long before the preferred one is probed beside it; then the longest pause. */
const PROBE_MS = 5_000;
const PROBE_MAX_MS = 600_000;

interface UnacknowledgedWork {
  /** While there are operations a hidden page stays connected. */
  readonly unacknowledged: readonly unknown[];
}

interface ReconnectingConnectionListener {
  opened(connection: TransportConnection, kind: Transport['kind']): void;
  lost(): void;
  counts(updates: readonly Update[]): void;
  mine(event: MineEvent): void;
  failed(error: LiveCountsError): void;
  /** The gateway rejects this client, and a retry soon would not help. */
  refused(error: LiveCountsError): void;
  /** The page is hidden or left, and may end without another call; also now and then while it is hidden. */
  left(): void;
}

interface Attempt {
  readonly transport: Transport;
  connection?: TransportConnection;
  open: boolean;
  /** True once the gateway acknowledged something over it. */
  proven: boolean;
}

/**
 * Keeps one connection to the gateway open:
 *
 *              start                opened
 *     idle ───────────▶ connecting ─────────▶ open
 *      ▲                 ▲      │ closed       │ closed
 *      │ page shown      │      ▼              │
 *     asleep           waiting ◀───────────────┘   backoff; after a `bye` the gateway's `retryAfterMs`
 *
 * Transports are in order of preference. When the first has failed twice, the second is tried in turn with it. While the
 * second is connected, the first is probed beside it from time to time, and replaces it when it gets through.
 */
export class ReconnectingConnection {
  readonly #backoff: Backoff;
  readonly #stopWatching: (() => void) | undefined;
  #phase: 'idle' | 'running' | 'asleep' | 'closed' = 'idle';
  #current: Attempt | undefined;
  #probe: Attempt | undefined;
  #failures = 0;
  #refusals = 0;
  /** True from the first rejection for a limit until the gateway accepts a subscription. */
  #isLimitReported = false;
  #probeMs = PROBE_MS;
  #waiting: Timer | undefined;
  /** True if the present wait was requested by the gateway. */
  #isWaitRequested = false;
  #probing: Timer | undefined;
  #sleeping: Timer | undefined;

  constructor(
    private readonly transports: readonly Transport[],
    private readonly environment: Environment,
    private readonly credentials: (refused: boolean) => Promise<Credentials>,
    private readonly work: UnacknowledgedWork,
    private readonly listener: ReconnectingConnectionListener,
  ) {
    this.#backoff = new Backoff(environment.random, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
    this.#stopWatching = environment.page?.onChange((isAway) => this.#pageChanged(isAway));
  }

  /** Connects unless it is connected or connecting already. */
  start(): void {
    if (this.#phase === 'running' || this.#phase === 'closed') return;
    this.#phase = 'running';
    if (this.environment.page?.hidden) this.#pageChanged(true);
    void this.#connect();
  }

  /**
   * The gateway acknowledged something, so it accepts this client: counts failures from zero again.
   * @param watches whether that was a subscription; operations over HTTP need no connection
   */
  markProven(watches: boolean): void {
    if (watches) this.#isLimitReported = false;
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
    const turn = Math.max(0, this.#failures - PREFERRED_ATTEMPTS + 1);
    return this.transports[turn % this.transports.length]!;
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
        limited: (error) => this.#reportLimit(error),
        closed: (ending) => this.#closed(attempt, ending),
      });
    } catch {
      // The page's policy forbids the WebSocket, or a secure page opened an insecure one.
      this.#closed(attempt, {});
    }
  }

  #opened(attempt: Attempt): void {
    if (attempt === this.#probe) {
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
    // A middlebox may let connections open and nothing through: that counts as a failure, too.
    if (!attempt.proven) this.#failures++;
    this.#wait(this.#waitMs(ending));
  }

  #waitMs({ error, retryAfterMs }: CloseReason): number {
    if (error && !error.retryable) {
      const cause = LiveCountsError.from(error);
      this.listener.failed(cause);
      // The first time the token may only have expired.
      if (++this.#refusals === 1) return 0;
      this.listener.refused(cause);
      this.#isWaitRequested = true;
      return REFUSED_MS;
    }
    if (error?.code === 'RATE_LIMITED') this.#reportLimit(error);
    const requestedMs = retryAfterMs ?? error?.retryAfterMs;
    this.#isWaitRequested = requestedMs !== undefined;
    const backoffMs = retryAfterMs === undefined ? this.#backoff.next() : 0;
    // The gateway spreads its clients by giving each its own time, so a tenth of jitter is enough.
    return Math.max(backoffMs, (requestedMs ?? 0) * (1 + this.environment.random() / 10));
  }

  /** An address may have too many connections for long, so that the page gets this error, once, though it is transient. */
  #reportLimit(error: ErrorBody): void {
    if (this.#isLimitReported) return;
    this.#isLimitReported = true;
    this.listener.failed(LiveCountsError.from(error));
  }

  #wait(ms: number): void {
    if (this.#phase !== 'running') return;
    this.#waiting = this.environment.clock.after(ms, () => void this.#connect());
  }

  #probeLater(): void {
    this.#probing?.cancel();
    if (this.#current?.transport === this.transports[0]) return;
    this.#probing = this.environment.clock.after(this.#probeMs, () => {
      this.#probeMs = Math.min(2 * this.#probeMs, PROBE_MAX_MS);
      this.#probe = { transport: this.transports[0]!, open: false, proven: false };
      void this.#open(this.#probe);
    });
  }

  /** The page was hidden or shown, or its network came back. */
  #pageChanged(isAway: boolean): void {
    this.#sleeping?.cancel();
    if (isAway) {
      this.listener.left();
      this.#sleeping = this.environment.clock.after(HIDDEN_MS, () => this.#sleep());
    } else if (this.#waiting && !this.#isWaitRequested) {
      // The user looks at the page or the network is back: shorten the wait, unless the gateway requested it.
      this.#waiting.cancel();
      this.#backoff.reset();
      this.#wait(this.#backoff.next());
    } else if (this.#phase === 'asleep') {
      this.start();
    }
  }

  #sleep(): void {
    if (this.#phase !== 'running') return;
    if (this.work.unacknowledged[0]) return this.#pageChanged(true);
    this.#phase = 'asleep';
    const open = this.#current?.open;
    this.#disconnect();
    if (open) this.listener.lost();
  }
}
