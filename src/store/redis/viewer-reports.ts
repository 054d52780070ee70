/** Posts that one call reports. */
const REPORT_MAX = 500;

/** Reports viewers of a bucket's posts, in absolute numbers. `isFull`: there are none at other posts of it. */
type Report = (
  bucket: number,
  viewers: readonly (readonly [post: string, viewers: number])[],
  isFull: boolean,
) => Promise<void>;

interface Bucket {
  /** Viewers here by post, none of them 0. */
  readonly viewers: Map<string, number>;
  /** Posts whose viewers changed since they were reported. */
  changed: Set<string>;
  /** Redis may have other viewers of this gateway than these, so all are reported. */
  needsFullReport: boolean;
  /** The report that runs until nothing is left to report. */
  reporting: Promise<void> | null;
}

/**
 * Reports this gateway's viewers to Redis, in absolute numbers, and one report of a bucket at a time, so that to repeat one does
 * no harm.
 */
export class ViewerReports {
  readonly #buckets: readonly Bucket[];

  constructor(
    buckets: number,
    private readonly report: Report,
  ) {
    this.#buckets = Array.from({ length: buckets }, () => ({
      viewers: new Map<string, number>(),
      changed: new Set<string>(),
      needsFullReport: false,
      reporting: null,
    }));
  }

  set(bucket: number, post: string, viewers: number): void {
    const { viewers: byPost, changed } = this.#buckets[bucket]!;
    if (viewers > 0) byPost.set(post, viewers);
    else byPost.delete(post);
    changed.add(post);
  }

  /** Called when another server may have replaced the one that got the reports. */
  requestFullReport(): void {
    for (const bucket of this.#buckets) if (bucket.viewers.size > 0) bucket.needsFullReport = true;
  }

  /** @param posts  of how many posts a sweep has found viewers of this gateway in Redis */
  checkPostCount(bucket: number, posts: number): void {
    const state = this.#buckets[bucket]!;
    const isReported = state.changed.size === 0 && state.reporting === null;
    if (isReported && state.viewers.size !== posts) state.needsFullReport = true;
  }

  /** Resolves when nothing is left to report, or when a report failed, which the next call repeats. */
  flush(number: number): Promise<void> {
    const bucket = this.#buckets[number]!;
    if (bucket.needsFullReport || bucket.changed.size > 0) bucket.reporting ??= this.#report(number, bucket);
    return bucket.reporting ?? Promise.resolve();
  }

  /** Reports 0 viewers of all posts. Where that fails they end with the lease. */
  async withdrawAll(): Promise<void> {
    for (const [number, { viewers }] of this.#buckets.entries()) {
      for (const post of viewers.keys()) this.set(number, post, 0);
    }
    await Promise.all(this.#buckets.map((_, number) => this.flush(number)));
  }

  async #report(number: number, bucket: Bucket): Promise<void> {
    try {
      while (bucket.needsFullReport || bucket.changed.size > 0) await this.#reportChanged(number, bucket);
    } catch {
      // The next sweep tries again.
    }
    bucket.reporting = null;
  }

  async #reportChanged(number: number, bucket: Bucket): Promise<void> {
    const { viewers, needsFullReport } = bucket;
    const changed = needsFullReport ? new Set(viewers.keys()) : bucket.changed;
    bucket.changed = new Set();
    bucket.needsFullReport = false;
    const posts = [...changed];
    try {
      // A full report removes all others, so that only the first page may be one.
      for (let first = 0; first === 0 || first < posts.length; first += REPORT_MAX) {
        const page = posts.slice(first, first + REPORT_MAX).map((post) => [post, viewers.get(post) ?? 0] as const);
        await this.report(number, page, needsFullReport && first === 0);
      }
    } catch (error) {
      for (const post of posts) bucket.changed.add(post);
      bucket.needsFullReport ||= needsFullReport;
      throw error;
    }
  }
}
