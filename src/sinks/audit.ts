import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { PostCounts } from '../counters/batch.js';
import { compareIncarnations } from '../counters/pn-counter.js';
import type { ChangePage, ChangeStore } from '../store/change-store.js';
import { AuditChecks, type AuditChecksOptions, type Drift, PAGE_POSTS } from './audit-checks.js';
import type { AuditedSink } from './audited-sink.js';
import { SinkError } from './sink.js';

/** A bucket that changes all the time is read again after this, … */
const PAUSE_MS = 250;
/** … this often. */
const TRIES_MAX = 120;

export interface AuditSummary {
  readonly buckets: number;
  /** Buckets whose sums could not be compared, because they have dead rows or never stood still. */
  readonly skippedBuckets: number;
  readonly posts: number;
  readonly drift: number;
  /** Buckets whose posts are sent again, because something differs. */
  readonly syncedAgain: number;
}

export interface AuditOptions extends AuditChecksOptions {
  readonly clock: Clock;
  /** Whether buckets in which something differs are sent again. */
  readonly repairs: boolean;
  /** The audit waits for it, so that it is not faster than its reader. */
  readonly report: (drift: Drift) => Promise<void>;
  /** Ends the audit early. */
  readonly signal: AbortSignal;
}

/**
 * Compares a sink with the store once, as an operator demands: sums of all changes with sums of all rows, and each post with its row.
 *
 * Cost: all rows are added up once, and all posts and rows are read once, a page at a time.
 */
export class Audit {
  readonly #checks: AuditChecks;
  #skippedBuckets = 0;
  #posts = 0;
  #drift = 0;
  readonly #wrongBuckets = new Set<number>();

  constructor(
    private readonly store: ChangeStore,
    private readonly sink: AuditedSink,
    private readonly options: AuditOptions,
  ) {
    this.#checks = new AuditChecks(store, sink, options);
  }

  async run(): Promise<AuditSummary> {
    const { buckets, signal } = this.options;
    // Checks whose counts the sink has.
    await this.sink.readPositions();
    for (let bucket = 0; bucket < buckets && !signal.aborted; bucket++) await this.#checkSums(bucket);
    const all = new Set(Array.from({ length: buckets }, (_, bucket) => bucket));
    for (let cursor: string | null = ''; cursor !== null && !signal.aborted;) {
      const page = await this.store.readAll(all, cursor, PAGE_POSTS);
      await this.#checkRows(page.posts);
      cursor = page.next;
    }
    const wrong = this.options.repairs ? [...this.#wrongBuckets] : [];
    if (wrong.length > 0) await this.sink.syncAgain(wrong);
    return {
      buckets,
      skippedBuckets: this.#skippedBuckets,
      posts: this.#posts,
      drift: this.#drift,
      syncedAgain: wrong.length,
    };
  }

  async #checkSums(bucket: number): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX && !this.options.signal.aborted; tries++) {
      const found = await this.#checks.compareSums(bucket);
      if (found === 'dead') break;
      if (found !== 'busy') {
        for (const drift of found) await this.#report(bucket, drift);
        return;
      }
      await sleep(this.options.clock, PAUSE_MS);
    }
    this.#skippedBuckets += 1;
  }

  async #checkRows(posts: readonly PostCounts[]): Promise<void> {
    this.#posts += posts.length;
    const other = await this.#checks.findOther(posts);
    if (other.length === 0) return;
    await this.#untilCurrent(await this.#checks.readPages(other));
    for (const drift of await this.#checks.compareAgain(other)) await this.#report(this.#checks.bucketOf(drift), drift);
  }

  /** Resolves when the sink has what the store had with these pages. @throws SinkError if that takes half a minute */
  async #untilCurrent(wanted: readonly ChangePage[]): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX && !this.options.signal.aborted; tries++) {
      const positions = await this.sink.readPositions();
      const isCurrent = wanted.every(({ bucket, starts, upTo }) => {
        const position = positions.get(bucket);
        if (position === undefined) return false;
        const order = compareIncarnations(position, starts.at(-1)!);
        return order === 'newer' || (order === 'same' && position.upTo >= upTo);
      });
      if (isCurrent) return;
      await sleep(this.options.clock, PAUSE_MS);
    }
    throw new SinkError(
      `${this.sink.name} does not get what the store has: see tallycast_sink_up and tallycast_sink_halted`,
      false,
    );
  }

  async #report(bucket: number, drift: Drift): Promise<void> {
    this.#drift += 1;
    this.#wrongBuckets.add(bucket);
    await this.options.report(drift);
  }
}
