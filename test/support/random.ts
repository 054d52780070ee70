import { Random as Numbers } from '../../load/random.js';

/** Random numbers that a seed repeats, and what tests choose by them. */
export class Random extends Numbers {
  /** True with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}
