import type { PostCounts } from '../counters/batch.js';
import type { ChangeStore } from '../store/change-store.js';
import { type AuditChecks, type Drift, PAGE_POSTS } from './audit-checks.js';

/** A pause between two pages: an audit reads 500 posts and rows a second at most. */
const PAGE_REST_MS = 1_000;
/** With 64 buckets a pass over all sums takes 16 minutes, so each row is added up as often. A pass over few posts rests as long as a bucket. */
const PASS_REST_MS = 15_000;
/** A bucket that is written all the time is tried again after a second, … */
const BUSY_REST_MS = 1_000;
/** … as often as makes up for its turn. Sums that are never known are not compared in this pass. */
const BUSY_TRIES_MAX = 15;

/** A step of an audit that never ends. */
export interface AuditStep {
  readonly drift: readonly Drift[];
  readonly endsPass: boolean;
  /** The time until the next step. */
  readonly restMs: number;
}

/** One way to compare a sink with the store, step by step, in passes over all of it. */
export interface AuditArm {
  readonly name: Drift['arm'];
  /** @throws Error, then the step is to be done again */
  step(): Promise<AuditStep>;
}

/** Compares the sums of one bucket in each step. */
export class SumsArm implements AuditArm {
  readonly name = 'sums';
  #bucket = 0;
  #tries = 0;

  constructor(
    private readonly checks: AuditChecks,
    private readonly buckets: number,
  ) {}

  async step(): Promise<AuditStep> {
    const found = await this.checks.compareSums(this.#bucket);
    this.#tries += 1;
    if (found === 'busy' && this.#tries < BUSY_TRIES_MAX) {
      return { drift: [], endsPass: false, restMs: BUSY_REST_MS };
    }
    this.#bucket = (this.#bucket + 1) % this.buckets;
    this.#tries = 0;
    const drift = found === 'busy' || found === 'dead' ? [] : found;
    return { drift, endsPass: this.#bucket === 0, restMs: PASS_REST_MS };
  }
}

/**
 * Compares one page of posts with their rows in each step. Posts with other rows, most of them late, are compared again once the sink has had
 * everything; no further page is read before. So a sink that is behind is left alone.
 */
export class RowsArm implements AuditArm {
  readonly name = 'rows';
  readonly #buckets: ReadonlySet<number>;
  /** `null`: the last page was read. */
  #cursor: string | null = '';
  #other: readonly PostCounts[] = [];
  /** When the posts with other rows were read. */
  #readAtMs = 0;

  /**
   * @param nowMs the clock of `currentAtMs`
   * @param currentAtMs the last time at which the sink is known to have had everything; `null`: none
   */
  constructor(
    private readonly store: Pick<ChangeStore, 'readAll'>,
    private readonly checks: AuditChecks,
    buckets: number,
    private readonly nowMs: () => number,
    private readonly currentAtMs: () => number | null,
  ) {
    this.#buckets = new Set(Array.from({ length: buckets }, (_, bucket) => bucket));
  }

  async step(): Promise<AuditStep> {
    if (this.#other.length > 0 && (this.currentAtMs() ?? -Infinity) < this.#readAtMs) {
      return { drift: [], endsPass: false, restMs: PAGE_REST_MS };
    }
    const drift = await this.checks.compareAgain(this.#other);
    if (this.#cursor === null) {
      this.#cursor = '';
      this.#other = [];
      return { drift, endsPass: true, restMs: PASS_REST_MS };
    }
    const { posts, next } = await this.store.readAll(this.#buckets, this.#cursor, PAGE_POSTS);
    const readAtMs = this.nowMs();
    this.#other = await this.checks.findOther(posts);
    this.#readAtMs = readAtMs;
    this.#cursor = next;
    return { drift, endsPass: false, restMs: PAGE_REST_MS };
  }
}
