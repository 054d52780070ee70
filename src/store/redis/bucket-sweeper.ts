import type { Clock, Timer } from '../../common/clock.js';

/** Between two sweeps of a bucket by one gateway. Those of other gateways come in addition. */
const SWEEP_MS = 1_000;
/** Buckets are swept in this many groups, one after another, to spread the load. */
const GROUPS = 10;

/** Sweeps a bucket. @returns ms until a post of it is due to be published; `null`: none is */
type Sweep = (bucket: number) => Promise<number | null>;

/**
 * Sweeps every bucket once in SWEEP_MS, and also when a post of it is due to be published. The gateway whose commit made it due
 * has a timer; the periodic sweeps of the others publish it if that gateway ends before.
 */
export class BucketSweeper {
  readonly #scheduled = new Map<number, { readonly atMs: number; readonly timer: Timer }>();
  #group = 0;
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(
    private readonly buckets: number,
    private readonly clock: Clock,
    private readonly sweep: Sweep,
  ) {
    this.#sweepNextGroup();
  }

  /** A post of the bucket is due in `publishInMs`, if not null. Later than the next sweep, that returns the time again. */
  schedulePublish(bucket: number, publishInMs: number | null): void {
    if (publishInMs === null || this.#isClosed) return;
    const inMs = Math.min(publishInMs, SWEEP_MS);
    const atMs = this.clock.nowMs() + inMs;
    const scheduled = this.#scheduled.get(bucket);
    if (scheduled !== undefined && scheduled.atMs <= atMs) return;
    scheduled?.timer.cancel();
    const timer = this.clock.after(inMs, () => {
      this.#scheduled.delete(bucket);
      this.#sweep(bucket);
    });
    this.#scheduled.set(bucket, { atMs, timer });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const { timer } of this.#scheduled.values()) timer.cancel();
    this.#scheduled.clear();
  }

  #sweepNextGroup(): void {
    this.#timer = this.clock.after(SWEEP_MS / GROUPS, () => {
      for (let bucket = this.#group; bucket < this.buckets; bucket += GROUPS) this.#sweep(bucket);
      this.#group = (this.#group + 1) % GROUPS;
      this.#sweepNextGroup();
    });
  }

  #sweep(bucket: number): void {
    if (this.#isClosed) return;
    this.sweep(bucket).then(
      (inMs) => this.schedulePublish(bucket, inMs),
      // Redis is down; later sweeps find what is due.
      () => undefined,
    );
  }
}
