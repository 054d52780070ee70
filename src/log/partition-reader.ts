import { Backoff } from '../common/backoff.js';
import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { Metrics } from '../counters/metrics.js';
import type { Lease } from '../store/lease.js';
import type { StoreBehindLog } from '../store/store-behind-log.js';
import { type BucketBatch, type BucketEntry, buildBatch } from './bucket-batch.js';
import type { CommittedEvents } from './changed-toggles.js';
import { type DecodedPage, decodePage } from './decoded-page.js';
import type { EventLog, LogPage } from './event-log.js';
import type { PageReads } from './page-reads.js';
import { type BucketPosition, PartitionPositions } from './partition-positions.js';

/** Measured on LMDB: a batch of 500 costs little more than one of 50. */
const OPERATIONS_MAX = 500;
/** Events that are read at once: about 5 MB when they are decoded. */
const PAGE_EVENTS_MAX = 10_000;
/** Pauses after a failure. */
const RETRY_MIN_MS = 25;
const RETRY_MAX_MS = 1_000;
/** A bucket without events follows the others this often, because its position holds up the trimming. */
const IDLE_MOVE_MS = 10_000;

/** Rules of reading. Tests plant other ones to see that they would be found. */
export interface ReaderRules {
  readonly buildBatch: typeof buildBatch;
  readonly operationsMax: number;
  /** Events of all partitions that are read at once, about. */
  readonly pageEventsMax: number;
  /** Whether positions are read again although nothing failed. */
  readonly rereadsPositions: boolean;
  /** Whether dead letters are written before the batches that pass over them. */
  readonly writesLettersFirst: boolean;
}

export const READER_RULES: ReaderRules = {
  buildBatch,
  operationsMax: OPERATIONS_MAX,
  pageEventsMax: PAGE_EVENTS_MAX,
  rereadsPositions: true,
  writesLettersFirst: true,
};

export interface PartitionReaderOptions {
  readonly partition: number;
  readonly buckets: number;
  readonly metrics: Metrics;
  /** LOG_MS: a partition that is applied is read again after this time. */
  readonly intervalMs: number;
  /** LOG_KEEP_S: applied entries are kept this long. */
  readonly keepMs: number;
  readonly clock: Clock;
  /** Wall time, ms since 1970. */
  readonly wallMs: () => number;
  readonly random: () => number;
  /** Whether the log has to be trimmed sooner, because it fills up. */
  readonly isFillingUp: () => boolean;
  readonly hasEnded: () => boolean;
  readonly listener: ReaderListener;
}

export interface ReaderListener {
  /** Events were counted, by these operations. */
  applied(events: number, committed: CommittedEvents): void;
  /** Events of the partition were trimmed before they were counted in some of its buckets. */
  missed(buckets: number): void;
  failed(error: unknown): void;
}

/** The position of a bucket is another one than expected: another gateway counts, or the store has failed over. */
export class PositionMoved extends Error {}

/**
 * Counts the events of one partition while this gateway leads it. The store decides by the position of each bucket, so that gateways
 * which both believe to lead it do no harm.
 *
 *     positions of the buckets ──▶ page after the cursor ──▶ dead letters ──▶ batches by bucket ──▶ cursor = end of the page
 *            ▲         ▲                                                            │                        │
 *            │         └── positions went back: the cursor, too                     │ failed, or moved       │
 *            └───────────────────────── after a pause ──────────────────────────────┘        next page ◀─────┘
 *
 * A bucket has nothing between its position and the cursor, if its position is below. The next page is read only when all buckets have the
 * events of this one.
 */
export class PartitionReader {
  readonly #positions: PartitionPositions;
  readonly #backoff: Backoff;
  readonly #ending = new AbortController();
  /** The term of the lease in which the positions were read; `null`: another gateway leads the partition. */
  #term: number | null = null;
  /** The name of the log; `null`: it has not been read yet. */
  #log: string | null = null;
  #idleMovedAtMs = 0;
  #missedUpTo = 0;
  #oldestAtMs: number | null = null;
  #running: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: Pick<StoreBehindLog, 'commit' | 'logPosition' | 'replayWindowMs'>,
    private readonly log: EventLog,
    private readonly reads: PageReads,
    private readonly lease: Pick<Lease, 'term' | 'isHeldElsewhere' | 'start' | 'close'>,
    private readonly options: PartitionReaderOptions,
    private readonly rules: ReaderRules = READER_RULES,
  ) {
    this.#positions = new PartitionPositions(store, options, rules.rereadsPositions);
    this.#backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, options.random);
  }

  /** When the oldest event that is not counted was accepted, ms since 1970; `null`: all are, or another gateway counts. */
  get oldestAtMs(): number | null {
    return this.#oldestAtMs;
  }

  get isLeading(): boolean {
    return this.#term !== null;
  }

  start(): void {
    this.lease.start();
    this.#running = this.#run();
  }

  /** The store is another server, perhaps, whose positions have gone back. */
  suspectFailover(): void {
    this.#positions.suspectFailover();
  }

  /** Resolves when the commits in flight have ended. */
  close(): Promise<void> {
    this.#ending.abort();
    return this.#running;
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#hasEnded()) {
      let pauseMs = this.#untilNextTurnMs;
      this.#followLease();
      if (this.isLeading) {
        try {
          if (await this.#turn()) pauseMs = 0;
          failures = 0;
        } catch (error) {
          failures += 1;
          pauseMs = this.#backoff.pauseMs(failures);
          this.options.listener.failed(error);
          this.#positions.suspect();
          await this.#noticeWaiting();
        }
      }
      await sleep(this.options.clock, pauseMs, this.#ending.signal);
    }
    this.lease.close();
  }

  #hasEnded(): boolean {
    return this.#ending.signal.aborted || this.options.hasEnded();
  }

  /** Turns of all partitions begin at the same time, so that their reads are one call. */
  get #untilNextTurnMs(): number {
    const { clock, intervalMs } = this.options;
    return intervalMs - (clock.nowMs() % intervalMs);
  }

  /** While the store is down nobody can lead the partition, and this gateway goes on to try. */
  #followLease(): void {
    const { term, isHeldElsewhere } = this.lease;
    if (isHeldElsewhere) this.#oldestAtMs = null;
    const leading = isHeldElsewhere ? null : (term ?? this.#term);
    if (leading === this.#term) return;
    this.#term = leading;
    this.#forget(null);
  }

  #forget(log: string | null): void {
    this.#log = log;
    this.#missedUpTo = 0;
    this.#positions.forget();
  }

  /** @returns whether more is to be done at once */
  async #turn(): Promise<boolean> {
    this.#log ??= (await this.#peek(0)).log;
    if (this.#positions.areDue) {
      await this.#positions.read(this.#log);
      await this.#trim(this.#log);
    }
    const page = await this.reads.read(this.options.partition, this.#positions.cursor!);
    if (page.log !== this.#log) {
      this.#forget(page.log);
      return true;
    }
    if (page.trimmedUpTo > this.#positions.cursor!) await this.#checkMissed(page);
    await this.#apply(page);
    await this.#moveIdleBuckets();
    return page.eventsLeft > 0;
  }

  async #peek(after: number): Promise<LogPage> {
    const [page] = await this.log.read([{ partition: this.options.partition, after }], 1);
    return page!;
  }

  async #trim(log: string): Promise<void> {
    const upTo = this.#positions.settledPosition(this.options.isFillingUp());
    if (upTo > 0) await this.log.trim(log, this.options.partition, upTo);
  }

  /** Another gateway may have applied and trimmed these events. Else they are lost, as the counts of this time are. */
  async #checkMissed({ log, trimmedUpTo }: LogPage): Promise<void> {
    await this.#positions.read(log);
    const missing = this.#positions.buckets.filter(({ position }) => position < trimmedUpTo);
    if (missing.length === 0 || trimmedUpTo <= this.#missedUpTo) return;
    this.#missedUpTo = trimmedUpTo;
    this.options.listener.missed(missing.length);
  }

  async #apply(page: LogPage): Promise<void> {
    const decoded = await this.#decode(page);
    this.#oldestAtMs = decoded.oldestAtMs;
    if (this.rules.writesLettersFirst) await this.#writeLetters(decoded);
    const commits = this.#positions.buckets.map((state) =>
      this.#commitAll(state, page.log, decoded.entries.get(state.bucket)),
    );
    await waitForAll(commits);
    if (!this.rules.writesLettersFirst) await this.#writeLetters(decoded);
    if (this.#hasEnded()) return;
    this.#positions.advance(page.entries.at(-1)?.offset ?? page.trimmedUpTo);
    this.#oldestAtMs = page.eventsLeft > 0 ? decoded.newestAtMs : null;
  }

  #decode(page: LogPage): Promise<DecodedPage> {
    const { buckets, metrics, clock } = this.options;
    return decodePage(page, { buckets, metrics, yieldTurn: () => sleep(clock, 0) });
  }

  async #writeLetters({ letters }: DecodedPage): Promise<void> {
    if (letters.length > 0) await this.log.addDeadLetters(letters);
  }

  async #commitAll(state: BucketPosition, log: string, entries: readonly BucketEntry[] = []): Promise<void> {
    const { options, rules } = this;
    for (let first = 0; ;) {
      while (first < entries.length && entries[first]!.offset <= state.position) first += 1;
      if (first === entries.length || this.#hasEnded()) return;
      const next = entries.slice(first);
      const build = (sums: boolean): BucketBatch => rules.buildBatch(next, options.metrics, rules.operationsMax, sums);
      if (!(await this.#commit(state, log, build(true)))) await this.#commit(state, log, build(false));
    }
  }

  /** @returns whether it was applied. Otherwise a sum might reach a milestone, and the same entries have to be sent without sums */
  async #commit(state: BucketPosition, log: string, { upTo, events, ...content }: BucketBatch): Promise<boolean> {
    const { operations, hasSums } = content;
    const { bucket, position } = state;
    const numbers = { bucket, producerId: log, afterInLog: position, batchNumber: upTo };
    const batch = { ...numbers, atMs: this.options.wallMs(), ...content };
    const result = await this.store.commit(batch).catch((cause: unknown) => {
      throw new Error(`bucket ${bucket}: ${String(cause)}`, { cause });
    });
    if (result.kind === 'unsum' && hasSums) return false;
    if (result.kind !== 'applied') throw new PositionMoved(`bucket ${bucket} is at ${result.last}, not ${position}`);
    state.position = upTo;
    this.options.listener.applied(events, { operations, ...result });
    return true;
  }

  async #moveIdleBuckets(): Promise<void> {
    const { clock } = this.options;
    const cursor = this.#positions.cursor!;
    const idle = this.#positions.buckets.filter(({ position }) => position < cursor);
    // Progress is measured by the greatest position, and a page that ends with dead letters takes no bucket to its end.
    const isEndUnmarked = idle.length === this.#positions.buckets.length;
    if (this.#hasEnded() || (!isEndUnmarked && clock.nowMs() - this.#idleMovedAtMs < IDLE_MOVE_MS)) return;
    this.#idleMovedAtMs = clock.nowMs();
    const nothing = { operations: [], upTo: cursor, events: 0, hasSums: false };
    await waitForAll(idle.map((state) => this.#commit(state, this.#log!, nothing)));
  }

  /** Nothing can be counted now. Events that come meanwhile wait, and metrics are to show for how long. */
  async #noticeWaiting(): Promise<void> {
    const { cursor } = this.#positions;
    if (this.#oldestAtMs !== null || cursor === null) return;
    try {
      this.#oldestAtMs = (await this.#decode(await this.#peek(cursor))).oldestAtMs;
    } catch {
      // The log is down, too.
    }
  }
}

/** Resolves when all have ended, so that none is in flight beside the next ones of its bucket. @throws the first failure */
async function waitForAll(commits: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(commits);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
