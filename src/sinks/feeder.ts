import { Backoff } from '../common/backoff.js';
import type { Clock, Timer } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { ChangeStore } from '../store/change-store.js';
import { Copier, COPY_RULES, type CopyRules, type CycleResult } from './copier.js';
import type { Lease } from '../store/lease.js';
import { type Sink, SinkError } from './sink.js';

/** Pauses after a failure. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 1_000;
/** After an error that somebody has to mend the sink is tried again this often. */
const MISCONFIGURED_RETRY_MS = 30_000;
/**
 * The positions of the sink are read again this often, because another gateway may have let it adopt the store, and because it may have
 * lost its last writes. A sink that nothing is written to would not show either.
 */
const POSITIONS_MAX_AGE_MS = 10_000;
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
  /** Since the sink last had everything, or since this gateway feeds it. */
  readonly lagSeconds: number;
  /** The beginning of the last cycle after which the sink had everything; `null`: none since this gateway feeds it. */
  readonly currentAtMs: number | null;
  readonly haltedBuckets: number;
  readonly fullSyncs: number;
  readonly postsWritten: number;
  /** Posts whose rows the sink rejected; `null`: it rejects no single rows. */
  readonly deadRows: number | null;
  /** How often it rejected a row, for this gateway; `null` as before. */
  readonly rejections: number | null;
}

/**
 * Feeds one sink while this gateway holds the lease. Clients never wait for it, and nothing is queued: a cycle that fails is done
 * again from the positions that the sink has.
 */
export class Feeder {
  readonly #copier: Copier;
  readonly #backoff: Backoff;
  /** The term of the lease when the positions of the sink were last forgotten; `null`: another gateway feeds it. */
  #term: number | null = null;
  #isUp = true;
  /** When the sink last had everything, or this gateway began to feed it. */
  #currentAtMs = 0;
  #hasBeenCurrent = false;
  #failures = 0;
  /** How long the sink is left alone at least after the last failure. */
  #leastPauseMs = 0;
  #fullSyncs = 0;
  #postsWritten = 0;
  /** When the positions of the sink were last forgotten because of their age. */
  #checkedAtMs = 0;
  /** Whether an operator has changed the positions of the sink. */
  #isChanged = false;
  #haltedBuckets = 0;
  /** The last message about failures in a row. */
  #warned = '';
  #isClosed = false;
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;

  constructor(
    store: ChangeStore,
    private readonly sink: Sink,
    private readonly lease: Pick<Lease, 'term'>,
    private readonly options: FeederOptions,
    rules: CopyRules = COPY_RULES,
  ) {
    this.#backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, options.random);
    const copierOptions = {
      buckets: options.buckets,
      mayWrite: () => this.#isFed,
      fullSyncStarted: () => (this.#fullSyncs += 1),
      written: (posts: number) => {
        this.#postsWritten += posts;
        this.#recover();
      },
    };
    this.#copier = new Copier(store, sink, copierOptions, rules);
  }

  start(): void {
    this.#schedule(0);
  }

  get name(): string {
    return this.sink.name;
  }

  get status(): SinkStatus {
    return {
      name: this.sink.name,
      isFed: this.#isFed,
      isUp: this.#isUp,
      lagSeconds: this.#isFed ? (this.options.clock.nowMs() - this.#currentAtMs) / 1_000 : 0,
      currentAtMs: this.#hasBeenCurrent ? this.#currentAtMs : null,
      haltedBuckets: this.#haltedBuckets,
      fullSyncs: this.#fullSyncs,
      postsWritten: this.#postsWritten,
      deadRows: this.sink.deadCount ?? null,
      rejections: this.sink.rejections ?? null,
    };
  }

  /** Reads the positions of the sink again with the next cycle, because an operator has changed them. */
  recheck(): void {
    this.#isChanged = true;
  }

  /** How soon the gateway that feeds the sink notices that its positions were changed, unless the sink is down. */
  get noticesWithinMs(): number {
    return this.options.intervalMs + (this.#isFed ? 0 : POSITIONS_MAX_AGE_MS);
  }

  /** Makes the sink follow the store, whichever gateway feeds it. @throws SinkError */
  async adopt(): Promise<void> {
    await this.sink.adopt();
    this.recheck();
  }

  /** Writes rejected rows again. @returns how many there were. @throws SinkError */
  async retryDead(): Promise<number> {
    const rows = (await this.sink.retryDead?.()) ?? 0;
    this.recheck();
    return rows;
  }

  /** Writes what is missing, if that takes no longer than some seconds. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    const limit = new AbortController();
    const timeout = sleep(this.options.clock, CLOSE_MAX_MS, limit.signal).then(() => limit.abort());
    await Promise.race([this.#finish(limit.signal), timeout]);
    limit.abort();
    await this.sink.close();
  }

  get #isFed(): boolean {
    return this.#term !== null && this.lease.term === this.#term;
  }

  #schedule(afterMs: number): void {
    if (this.#isClosed) return;
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
    const result = await this.#cycle();
    this.#schedule(this.#pauseMs(result));
  }

  async #finish(limit: AbortSignal): Promise<void> {
    await this.#running;
    let result: CycleResult | 'failed' = this.#isFed && this.#isUp ? 'behind' : 'failed';
    while (result === 'behind' && !limit.aborted) result = await this.#cycle();
  }

  /** Another gateway fed the sink, or will. */
  #switch(): void {
    this.#term = this.lease.term;
    this.#currentAtMs = this.options.clock.nowMs();
    this.#hasBeenCurrent = false;
    this.#checkedAtMs = this.#currentAtMs;
    this.#failures = 0;
    this.#haltedBuckets = 0;
    this.#copier.reset();
  }

  async #cycle(): Promise<CycleResult | 'failed'> {
    const startedAtMs = this.options.clock.nowMs();
    try {
      this.#forgetOldPositions();
      const result = await this.#copier.cycle();
      if (result === 'current') {
        this.#recover();
        this.#failures = 0;
      }
      if (result === 'overtaken') this.#failures += 1;
      if (result !== 'overtaken') this.#reportHalted();
      if (result === 'current' && this.#haltedBuckets === 0) {
        this.#currentAtMs = startedAtMs;
        this.#hasBeenCurrent = true;
      }
      return result;
    } catch (error) {
      this.#isUp = false;
      this.#failures += 1;
      this.#copier.reset();
      this.#reportFailure(error);
      return 'failed';
    }
  }

  /** Not when positions could be read: a sink that rejects all writes is down, and its failures are one row. */
  #recover(): void {
    this.#isUp = true;
    this.#leastPauseMs = 0;
    this.#warned = '';
  }

  #pauseMs(result: CycleResult | 'failed'): number {
    if (result === 'current') return this.options.intervalMs;
    if (result === 'behind') return 0;
    return Math.max(this.#backoff.pauseMs(this.#failures), this.#leastPauseMs);
  }

  /** Once in a row: a store or a sink that is down fails each cycle. */
  #reportFailure(error: unknown): void {
    const { isConfiguration, pauseMs } = error instanceof SinkError ? error : { isConfiguration: false, pauseMs: 0 };
    this.#leastPauseMs = Math.max(pauseMs, isConfiguration ? MISCONFIGURED_RETRY_MS : 0);
    const message = error instanceof Error ? error.message : String(error);
    if (message === this.#warned) return;
    this.#warned = message;
    this.options.warn(`${this.sink.name}: ${message}`);
  }

  #forgetOldPositions(): void {
    const nowMs = this.options.clock.nowMs();
    // A full sync would begin again. Its writes find out by themselves whether the sink was changed.
    const isOld = nowMs >= this.#checkedAtMs + POSITIONS_MAX_AGE_MS && !this.#copier.isSyncing;
    if (!isOld && !this.#isChanged) return;
    this.#checkedAtMs = nowMs;
    this.#isChanged = false;
    this.#copier.reset();
  }

  #reportHalted(): void {
    const { haltedBuckets, haltReason } = this.#copier;
    if (haltedBuckets > 0 && this.#haltedBuckets === 0) this.options.warn(`${this.sink.name}: ${haltReason}`);
    this.#haltedBuckets = haltedBuckets;
  }
}
