import type { PostCounts } from '../../src/counters/batch.js';
import type { CounterStore } from '../../src/store/counter-store.js';

/** The newest counts of each post that a store published: versions may come twice and out of order. */
export class PublishedCounts {
  readonly #newest = new Map<string, PostCounts>();
  #published: () => void = () => undefined;

  constructor(store: CounterStore) {
    store.changes.subscribe((changed) => {
      for (const counts of changed) {
        const newest = this.#newest.get(counts.post);
        if (newest === undefined || counts.v >= newest.v) this.#newest.set(counts.post, counts);
      }
      this.#published();
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
      await new Promise<void>((resolve) => (this.#published = resolve));
    }
  }
}
