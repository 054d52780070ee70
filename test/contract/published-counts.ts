import type { PostCounts } from '../../src/counters/batch.js';
import type { CounterStore } from '../../src/store/counter-store.js';

/** What a store has announced: the newest of each post, since versions may come twice and out of order. */
export class PublishedCounts {
  readonly #newest = new Map<string, PostCounts>();
  #heard: () => void = () => undefined;

  constructor(store: CounterStore) {
    store.changes.subscribe((changed) => {
      for (const counts of changed) {
        const known = this.#newest.get(counts.post);
        if (known === undefined || counts.v >= known.v) this.#newest.set(counts.post, counts);
      }
      this.#heard();
    });
  }

  get posts(): string[] {
    return [...this.#newest.keys()];
  }

  latest(post: string): PostCounts | undefined {
    return this.#newest.get(post);
  }

  async waitFor(post: string, version: number): Promise<void> {
    while ((this.#newest.get(post)?.v ?? 0) < version) {
      await new Promise<void>((resolve) => (this.#heard = resolve));
    }
  }
}
