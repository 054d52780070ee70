/** Samples of an age: the oldest is at most this much of the age too old. */
const SAMPLES = 16;

interface Sample {
  readonly atMs: number;
  /** Since then every position was at or above it. */
  position: number;
}

/** Remembers the least position of a partition for a time, to know what has been applied everywhere for that long. */
export class PositionHistory {
  readonly #samples: Sample[] = [];

  constructor(private readonly ageMs: number) {}

  /** @param position the least one of the partition's buckets now */
  record(nowMs: number, position: number): void {
    for (const sample of this.#samples) sample.position = Math.min(sample.position, position);
    const last = this.#samples.at(-1);
    if (last === undefined || nowMs - last.atMs >= this.ageMs / SAMPLES) this.#samples.push({ atMs: nowMs, position });
    while (this.#isOld(1, nowMs)) this.#samples.shift();
  }

  /** @returns an offset at or below which every position has been for the whole age; 0: none is known */
  settledPosition(nowMs: number): number {
    const index = this.#samples.findLastIndex((_, i) => this.#isOld(i, nowMs));
    return this.#samples[index]?.position ?? 0;
  }

  /** Positions may have gone back unseen. */
  clear(): void {
    this.#samples.length = 0;
  }

  #isOld(index: number, nowMs: number): boolean {
    const sample = this.#samples[index];
    return sample !== undefined && nowMs - sample.atMs >= this.ageMs;
  }
}
