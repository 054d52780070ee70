import type { ErrorBody } from '../../src/protocol/errors.js';
import { Backoff } from './backoff.js';
import type { Environment, PageChange, Timer } from './environment.js';
import { LiveCountsError } from './errors.js';
import { HeadStart } from './head-start.js';
import type { ReconnectingConnectionListener } from './reconnecting-connection-listener.js';
import type { TransportConnection, Credentials, CloseReason, Transport } from './transport.js';

/** The limit of the first wait. The average is half of it: enough for a balancer to notice that a gateway is down. */
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** The wait after a rejection that is not retryable; a token may have been renewed by then. */
const REFUSED_MS = 30_000;
/** Time that a hidden page stays connected. */
const HIDDEN_MS = 30_000;
/** The second transport starts this long after the first if neither is open: more than three round trips of a slow network. */
const HEAD_START_MS = 2_000;
/** A connection that does not answer for this long is lost. */
const ANSWER_MS = 3_000;
/** The second transport is used this long before the preferred one is probed beside it; then the longest pause. */
const PROBE_MS = 5_000;
const PROBE_MAX_MS = 600_000;

interface Attempt {
  readonly transport: Transport;
  connection?: TransportConnection;
  open: boolean;
  /** True once the gateway acknowledged something over it. */
  proven: boolean;
  /** True while a request waits for its answer that shows whether the connection still works. */
  isChecked: boolean;
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
 * Transports are in order of preference. Two race: the second starts when the first has failed, or is not open after a
 * head start. The one that is open first is used, and gets the head start the next time, also after the page is loaded again.
 * While another one than the preferred is open, that is probed beside it from time to time, and replaces it when it gets through.
 */
export class ReconnectingConnection {
  readonly #backoff: Backoff;
  readonly #stopWatching: (() => void) | undefined;
  /** `left`: operations that a page makes as it is left do not connect. */
  /** Why the gateway rejects this client, until the next attempt. */
  refusal: LiveCountsError | undefined;
  #phase: 'idle' | 'running' | 'asleep' | 'left' | 'closed' = 'idle';
  #current: Attempt | undefined;
  /** Runs beside the current attempt: the second one of a race, or the probe. Whichever of both opens replaces the other. */
  #rival: Attempt | undefined;
  /** Starts the rival. */
  #starting: Timer | undefined;
  readonly #headStart: HeadStart;
  #refusals = 0;
  /** True from the first rejection for a limit until the gateway accepts a subscription. */
  #isLimitReported = false;
  #probeMs = PROBE_MS;
  #waiting: Timer | undefined;
  /** True if the present wait was requested by the gateway. */
  #isWaitRequested = false;
  #sleeping: Timer | undefined;

  constructor(
    private readonly transports: readonly Transport[],
    private readonly environment: Environment,
    private readonly credentials: (refused: boolean) => Promise<Credentials>,
    /** While there are operations a hidden page stays connected. */
    private readonly work: { readonly unacknowledged: readonly unknown[] },
    private readonly listener: ReconnectingConnectionListener,
  ) {
    this.#backoff = new Backoff(environment.random, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
    this.#stopWatching = environment.page?.onChange((change) => this.#pageChanged(change));
    this.#headStart = new HeadStart(transports, environment.sessionStorage);
  }

  /** Connects unless it is connected or connecting already. */
  start(): void {
    if (this.#phase !== 'idle' && this.#phase !== 'asleep') return;
    this.#phase = 'running';
    if (this.environment.page?.hidden) this.#pageChanged('hidden');
    this.#connect();
  }

  /**
   * The gateway acknowledged something, so it accepts this client: counts failures from zero again.
   * @param watches whether that was a subscription; operations over HTTP need no connection
   */
  markProven(watches: boolean): void {
    if (watches) this.#isLimitReported = false;
    this.#refusals = 0;
    this.#backoff.reset();
    if (this.#current) this.#current.proven = true;
  }

  /** Ends the connection, and makes another one with new credentials. */
  reconnect(): void {
    if (!this.#current) return;
    this.#drop();
    this.#connect();
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
    this.#cancelStart();
    for (const attempt of [this.#current, this.#rival]) attempt?.connection?.close();
    this.#current = this.#rival = undefined;
  }

  #drop(): void {
    const open = this.#current?.open;
    this.#disconnect();
    if (open) this.listener.lost();
  }

  #connect(): void {
    this.#waiting = this.refusal = undefined;
    this.#current = this.#begin(this.#headStart.transport);
    if (this.transports[1]) this.#startLater(HEAD_START_MS);
  }

  /** The transport that the current attempt does not use. */
  #otherTransport(): Transport {
    return this.transports.find((transport) => transport !== this.#current?.transport)!;
  }

  #startLater(ms: number): void {
    this.#cancelStart();
    this.#starting = this.environment.clock.after(ms, () => {
      this.#starting = undefined;
      this.#rival = this.#begin(this.#otherTransport());
    });
  }

  #cancelStart(): void {
    this.#starting?.cancel();
    this.#starting = undefined;
  }

  #begin(transport: Transport): Attempt {
    const attempt: Attempt = { transport, open: false, proven: false, isChecked: false };
    void this.#open(attempt);
    return attempt;
  }

  async #open(attempt: Attempt): Promise<void> {
    const isWanted = (): boolean => attempt === this.#current || attempt === this.#rival;
    let credentials: Credentials;
    try {
      credentials = await this.credentials(this.#refusals > 0);
    } catch (error) {
      if (!isWanted()) return;
      this.listener.failed(new LiveCountsError('TOKEN', error instanceof Error ? error.message : String(error)));
      this.#closed(attempt, {}, true);
      return;
    }
    if (!isWanted()) return;
    try {
      attempt.connection = attempt.transport.connect(credentials, {
        first: () => this.listener.first(),
        opened: () => this.#opened(attempt),
        received: (event) => attempt === this.#current && this.listener.received(event),
        limited: (error) => this.#reportLimit(error),
        closed: (ending) => this.#closed(attempt, ending),
      });
    } catch {
      // The page's policy forbids the WebSocket, or a secure page opened an insecure one.
      this.#closed(attempt, {});
    }
  }

  #opened(attempt: Attempt): void {
    const other = attempt === this.#current ? this.#rival : this.#current;
    if (attempt !== this.#current && attempt !== this.#rival) return;
    this.#current = attempt;
    this.#rival = undefined;
    other?.connection?.close();
    attempt.open = true;
    this.#headStart.give(attempt.transport);
    this.#probeLater();
    this.listener.opened(attempt.connection!, attempt.transport.kind);
  }

  /** @param isFinal whether the other transport would get the same result */
  #closed(attempt: Attempt, ending: CloseReason, isFinal = ending.error !== undefined): void {
    if (attempt === this.#rival) {
      this.#rival = undefined;
      if (this.#current?.open) this.#probeLater();
    }
    if (attempt !== this.#current) return;
    if (!attempt.open && !isFinal && (this.#rival || this.#starting)) {
      this.#current = this.#rival ?? this.#begin(this.#otherTransport());
      this.#rival = undefined;
      this.#cancelStart();
      return;
    }
    // A middlebox may let connections open and nothing through.
    if (attempt.open && !attempt.proven && this.transports[1]) this.#headStart.give(this.#otherTransport());
    this.#drop();
    this.#wait(this.#waitMs(ending));
  }

  #waitMs({ error, retryAfterMs }: CloseReason): number {
    if (error && !error.retryable) {
      const cause = LiveCountsError.from(error);
      this.listener.failed(cause);
      // The first time the token may only have expired.
      if (++this.#refusals === 1) return 0;
      this.refusal = cause;
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
    this.#waiting = this.environment.clock.after(ms, () => this.#connect());
  }

  #probeLater(ms = this.#probeMs): void {
    this.#cancelStart();
    const isPreferred = this.#current?.transport === this.transports[0];
    this.#probeMs = isPreferred ? PROBE_MS : Math.min(2 * this.#probeMs, PROBE_MAX_MS);
    if (!isPreferred) this.#startLater(ms);
  }

  #pageChanged(change: PageChange): void {
    const { clock, page } = this.environment;
    if (change === 'online' && page!.hidden) return;
    this.#sleeping?.cancel();
    if (change === 'shown') this.listener.shown();
    if (change === 'hidden' || change === 'left') {
      this.listener.left();
      // With an open connection a page that is left stays a viewer for a while, and the browser does not keep it for the way back.
      if (change === 'left') this.#sleep('left');
      else this.#sleeping = clock.after(HIDDEN_MS, () => this.#sleep('asleep'));
    } else if (this.#phase === 'asleep' || this.#phase === 'left') {
      this.#phase = 'asleep';
      this.start();
    } else if (this.#current?.open) {
      void this.#check(this.#current);
      this.#probeMs = PROBE_MS;
      if (change === 'online' && !this.#rival) this.#probeLater(0);
    } else if (this.#waiting && !this.#isWaitRequested) {
      // The user looks at the page or the network is back: shorten the wait, unless the gateway requested it.
      this.#waiting.cancel();
      this.#backoff.reset();
      this.#wait(this.#backoff.next());
    }
  }

  /** A connection that looks open may be lost: networks that change and computers that sleep do not always say so. */
  async #check(attempt: Attempt): Promise<void> {
    // Pages change in several ways at once, such as shown and online.
    if (attempt.isChecked) return;
    attempt.isChecked = true;
    const deadline = this.environment.clock.after(ANSWER_MS, () => this.#closed(attempt, {}));
    await this.listener.check();
    deadline.cancel();
    attempt.isChecked = false;
  }

  #sleep(phase: 'asleep' | 'left'): void {
    if (this.#phase !== 'running' && this.#phase !== 'asleep') return;
    if (phase === 'asleep' && this.work.unacknowledged[0]) return this.#pageChanged('hidden');
    this.#phase = phase;
    this.#drop();
  }
}
