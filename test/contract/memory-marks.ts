import type { MarkGeneration, Marks } from '../../src/counters/bucket.js';
import type { Key64 } from '../../src/counters/ids.js';

/** Marks in Maps: the reference for those of stores. */
export class MemoryMarks implements Marks {
  #numbers = new Map<string, number>();
  #numbersBefore = new Map<string, number>();
  #generation = 1;
  #startedAtMs = 0;

  get generation(): MarkGeneration {
    return { number: this.#generation, startedAtMs: this.#startedAtMs, marks: this.#numbers.size };
  }

  copy(): MemoryMarks {
    const copy = new MemoryMarks();
    copy.#numbers = new Map(this.#numbers);
    copy.#numbersBefore = new Map(this.#numbersBefore);
    copy.#generation = this.#generation;
    copy.#startedAtMs = this.#startedAtMs;
    return copy;
  }

  startGeneration(atMs: number): void {
    this.#generation += 1;
    this.#startedAtMs = atMs;
    this.#numbersBefore = this.#numbers;
    this.#numbers = new Map();
  }

  get({ hi, lo }: Key64): number {
    const text = `${hi}:${lo}`;
    return this.#numbers.get(text) ?? this.#numbersBefore.get(text) ?? 0;
  }

  set({ hi, lo }: Key64, number: number): void {
    this.#numbers.set(`${hi}:${lo}`, number);
  }
}
