/** Posts reported by one call. */
const REPORT_MAX = 500;

/** Sends shares of a bucket: absolute, and `all` when what is not among them is over. */
type Report = (
  bucket: number,
  shares: readonly (readonly [post: string, viewers: number])[],
  all: boolean,
) => Promise<void>;

interface Bucket {
  /** Viewers here by post, none of them 0. */
  readonly viewers: Map<string, number>;
  /** Posts whose share changed since it was reported. */
  changed: Set<string>;
  /** Redis may hold other shares of this gateway than these: all are reported. */
  unsure: boolean;
  /** The report that is under way; it goes on until nothing is left to report. */
  reporting: Promise<void> | null;
}

/**
 * This gateway's viewers by post, as Redis has to have them. Shares are absolute, and one report of a bucket is under way
 * at a time, so that one that is sent again does no harm.
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
      unsure: false,
      reporting: null,
    }));
  }

  set(bucket: number, post: string, viewers: number): void {
    const { viewers: shares, changed } = this.#buckets[bucket]!;
    if (viewers > 0) shares.set(post, viewers);
    else shares.delete(post);
    changed.add(post);
  }

  /** Another server answers: whatever it holds, it is to hold what is so. */
  requestFullReport(): void {
    for (const bucket of this.#buckets) if (bucket.viewers.size > 0) bucket.unsure = true;
  }

  /** What a sweep found: of how many posts Redis has a share of this gateway. */
  checkPostCount(bucket: number, posts: number): void {
    const { viewers, changed, reporting } = this.#buckets[bucket]!;
    if (viewers.size !== posts && changed.size === 0 && reporting === null) this.#buckets[bucket]!.unsure = true;
  }

  /** Resolves when nothing is left to report, or it failed: then it stays to be reported, by the next call. */
  flush(number: number): Promise<void> {
    const bucket = this.#buckets[number]!;
    if (bucket.unsure || bucket.changed.size > 0) bucket.reporting ??= this.#report(number, bucket);
    return bucket.reporting ?? Promise.resolve();
  }

  /** Nobody watches here any more: takes all shares back. Those that cannot be, end with the lease. */
  async withdrawAll(): Promise<void> {
    for (const [number, { viewers }] of this.#buckets.entries()) {
      for (const post of viewers.keys()) this.set(number, post, 0);
    }
    await Promise.all(this.#buckets.map((_, number) => this.flush(number)));
  }

  async #report(number: number, bucket: Bucket): Promise<void> {
    try {
      while (bucket.unsure || bucket.changed.size > 0) await this.#next(number, bucket);
    } catch {
      // The next sweep tries again.
    }
    bucket.reporting = null;
  }

  async #next(number: number, bucket: Bucket): Promise<void> {
    const { viewers, unsure } = bucket;
    const changed = unsure ? new Set(viewers.keys()) : bucket.changed;
    bucket.changed = new Set();
    bucket.unsure = false;
    const posts = [...changed];
    try {
      // What is reported with `all` ends the others, so that only the first part may carry it.
      for (let first = 0; first === 0 || first < posts.length; first += REPORT_MAX) {
        const part = posts.slice(first, first + REPORT_MAX).map((post) => [post, viewers.get(post) ?? 0] as const);
        await this.report(number, part, unsure && first === 0);
      }
    } catch (error) {
      for (const post of posts) bucket.changed.add(post);
      bucket.unsure ||= unsure;
      throw error;
    }
  }
}
