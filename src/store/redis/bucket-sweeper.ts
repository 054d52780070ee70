import type { Clock, Timer } from '../../common/clock.js';

/** Between two sweeps of a bucket by one gateway. */
const SWEEP_MS = 1_000;
/** Buckets are swept in this many groups, one after the other. */
const GROUPS = 10;

/** Sweeps a bucket. @returns ms until something of it is due, `null` if nothing is. */
type Sweep = (bucket: number) => Promise<number | null>;

/**
 * Sweeps every bucket once in SWEEP_MS, and one in which a post is due to be announced at that time. The gateway that
 * caused it has a timer; the others' sweeps are there for those that end before it.
 */
export class BucketSweeper {
  readonly #due = new Map<number, { readonly atMs: number; readonly timer: Timer }>();
  #turn = 0;
  #timer: Timer | null = null;
  #closed = false;

  constructor(
    private readonly buckets: number,
    private readonly clock: Clock,
    private readonly sweep: Sweep,
  ) {
    this.#next();
  }

  /** Something of the bucket is due in `dueInMs`, if not null; a time further off than a sweep is asked for again by that. */
  schedulePublish(bucket: number, dueInMs: number | null): void {
    if (dueInMs === null || this.#closed) return;
    const inMs = Math.min(dueInMs, SWEEP_MS);
    const atMs = this.clock.nowMs() + inMs;
    const known = this.#due.get(bucket);
    if (known !== undefined && known.atMs <= atMs) return;
    known?.timer.cancel();
    const timer = this.clock.after(inMs, () => {
      this.#due.delete(bucket);
      this.#run(bucket);
    });
    this.#due.set(bucket, { atMs, timer });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const { timer } of this.#due.values()) timer.cancel();
    this.#due.clear();
  }

  #next(): void {
    this.#timer = this.clock.after(SWEEP_MS / GROUPS, () => {
      for (let bucket = this.#turn; bucket < this.buckets; bucket += GROUPS) this.#run(bucket);
      this.#turn = (this.#turn + 1) % GROUPS;
      this.#next();
    });
  }

  #run(bucket: number): void {
    if (this.#closed) return;
    this.sweep(bucket).then(
      (inMs) => this.schedulePublish(bucket, inMs),
      // Redis is away; the sweeps to come find what is due.
      () => undefined,
    );
  }
}
