import { Backoff } from '../common/backoff.js';
import type { Clock, Timer } from '../common/clock.js';
import type { ChangeStore } from '../store/change-store.js';
import { Copier } from './copier.js';
import type { Lease } from './lease.js';
import { type Sink, SinkError } from './sink.js';

/** Pauses after a failure. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 1_000;
/** After an error that somebody has to mend, and while a bucket is halted, the sink is read again this often. */
const RECHECK_MS = 30_000;
/** A gateway without the lease looks again this often whether it has got it. */
const LEASE_CHECK_MS = 1_000;
/** How long the last cycles may take when the gateway ends. */
const CLOSE_MAX_MS = 3_000;

export interface FeederOptions {
  readonly buckets: number;
  /** SINK_MS: a sink that has everything is written again after this time. */
  readonly intervalMs: number;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly warn: (message: string) => void;
}

/** The figures of a sink in `/metrics`. */
export interface SinkStatus {
  readonly name: string;
  /** Whether this gateway feeds it. */
  readonly isFed: boolean;
  /** Whether the last cycle went through. */
  readonly isUp: boolean;
  /** Since the sink last had everything. */
  readonly lagSeconds: number;
  readonly haltedBuckets: number;
  readonly fullSyncs: number;
  readonly postsWritten: number;
  /** Posts whose rows the sink rejected; `null`: it rejects no single rows. */
  readonly deadRows: number | null;
}

/**
 * Feeds one sink while this gateway holds the lease. Clients never wait for it, and nothing is queued: a cycle that fails is done
 * again from the positions that the sink has.
 */
export class Feeder {
  readonly #copier: Copier;
  readonly #backoff: Backoff;
  readonly #startedAtMs: number;
  /** Of the lease when the positions of the sink were last forgotten; `null`: another gateway feeds it. */
  #term: number | null = null;
  #isUp = true;
  /** When the sink last had everything. */
  #currentAtMs: number | null = null;
  #failures = 0;
  #fullSyncs = 0;
  #postsWritten = 0;
  #isMisconfigured = false;
  /** How long the sink wants to be left alone after the last failure. */
  #leastPauseMs = 0;
  #haltCheckedAtMs = 0;
  /** Whether an operator has changed the positions of the sink. */
  #isChanged = false;
  #warned = '';
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;

  constructor(
    store: ChangeStore,
    private readonly sink: Sink,
    private readonly lease: Pick<Lease, 'term'>,
    private readonly options: FeederOptions,
  ) {
    const { buckets, clock, random } = options;
    this.#startedAtMs = clock.nowMs();
    this.#backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, random);
    this.#copier = new Copier(store, sink, buckets, {
      fullSyncStarted: () => (this.#fullSyncs += 1),
      written: (posts) => (this.#postsWritten += posts),
    });
  }

  start(): void {
    this.#schedule(0);
  }

  get status(): SinkStatus {
    const sinceMs = this.options.clock.nowMs() - (this.#currentAtMs ?? this.#startedAtMs);
    return {
      name: this.sink.name,
      isFed: this.#isFed,
      isUp: this.#isUp,
      lagSeconds: this.#isFed ? sinceMs / 1_000 : 0,
      haltedBuckets: this.#copier.haltedBuckets,
      fullSyncs: this.#fullSyncs,
      postsWritten: this.#postsWritten,
      deadRows: this.sink.deadCount ?? null,
    };
  }

  /** Makes the sink follow the store, whichever gateway feeds it; another one notices it within RECHECK_MS. @throws SinkError */
  async adopt(): Promise<void> {
    await this.sink.adopt();
    this.#isChanged = true;
  }

  /** Writes rejected rows again. @returns how many there were. @throws SinkError */
  async retryDead(): Promise<number> {
    const rows = (await this.sink.retryDead?.()) ?? 0;
    this.#isChanged = true;
    return rows;
  }

  /** Writes what is missing, if that takes no longer than some seconds. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#running;
    this.#timer?.cancel();
    const { clock } = this.options;
    const endMs = clock.nowMs() + CLOSE_MAX_MS;
    while (this.#isFed && this.#isUp && clock.nowMs() < endMs && !(await this.#cycle()));
    await this.sink.close();
  }

  get #isFed(): boolean {
    return this.#term !== null && this.lease.term === this.#term;
  }

  #schedule(afterMs: number): void {
    this.#timer = this.options.clock.after(afterMs, () => {
      this.#running = this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.lease.term !== this.#term) this.#switch();
    if (!this.#isFed) {
      this.#schedule(LEASE_CHECK_MS);
      return;
    }
    const isCurrent = await this.#cycle();
    this.#schedule(isCurrent ? this.options.intervalMs : this.#pauseMs());
  }

  /** Another gateway fed the sink, or will. */
  #switch(): void {
    this.#term = this.lease.term;
    this.#copier.reset();
    this.#currentAtMs = null;
  }

  /** @returns whether the sink has everything that can be written to it */
  async #cycle(): Promise<boolean> {
    if (this.#isChanged) this.#copier.reset();
    this.#isChanged = false;
    try {
      const isCurrent = await this.#copier.cycle();
      this.#isUp = true;
      this.#failures = 0;
      if (isCurrent && this.#copier.haltedBuckets === 0) this.#currentAtMs = this.options.clock.nowMs();
      this.#checkHalt();
      return isCurrent;
    } catch (error) {
      this.#isUp = false;
      this.#failures += 1;
      this.#copier.reset();
      this.#reportFailure(error);
      return false;
    }
  }

  #pauseMs(): number {
    if (this.#failures === 0) return 0;
    const pauseMs = this.#isMisconfigured ? RECHECK_MS : this.#backoff.pauseMs(this.#failures);
    return Math.max(pauseMs, this.#leastPauseMs);
  }

  #reportFailure(error: unknown): void {
    this.#isMisconfigured = error instanceof SinkError && error.isConfiguration;
    this.#leastPauseMs = error instanceof SinkError ? error.pauseMs : 0;
    this.#warnOnce(`${this.sink.name}: ${error instanceof Error ? error.message : String(error)}`);
  }

  /** Halted buckets are looked at again from time to time, because somebody may have adopted the store. */
  #checkHalt(): void {
    const { haltedBuckets, haltReason } = this.#copier;
    if (haltedBuckets === 0) {
      this.#warned = '';
      return;
    }
    this.#warnOnce(`${this.sink.name}: ${haltReason}`);
    const nowMs = this.options.clock.nowMs();
    if (nowMs < this.#haltCheckedAtMs + RECHECK_MS) return;
    this.#haltCheckedAtMs = nowMs;
    this.#copier.reset();
  }

  /** Once in a row: a store or a sink that is down fails each cycle. */
  #warnOnce(message: string): void {
    if (message === this.#warned) return;
    this.#warned = message;
    this.options.warn(message);
  }
}
