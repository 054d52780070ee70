import type { LiveCounts } from 'tallycast-client/widgets';

interface Totals {
  readonly likes: number;
  readonly views: number;
}

/** Collects the changes that the page's client gets for some posts. */
export class CountsMonitor {
  readonly #latest = new Map<string, Totals>();
  #counted = 0;
  #frames = 0;
  #inFrame = false;

  constructor(live: LiveCounts, posts: readonly string[]) {
    for (const post of posts) {
      live.post(post).subscribe(
        ({ counts, delta, source }) => {
          this.#latest.set(post, counts);
          if (source !== 'remote') return;
          this.#counted += Math.abs(delta['likes'] ?? 0) + Math.abs(delta['views'] ?? 0);
          this.#countFrame();
        },
        undefined,
        { present: false },
      );
    }
  }

  /** @returns operations and frames since the last call; a like that is taken back within a tick does not count */
  takeSample(): { readonly counted: number; readonly frames: number } {
    const taken = { counted: this.#counted, frames: this.#frames };
    this.#counted = 0;
    this.#frames = 0;
    return taken;
  }

  totals(): Totals {
    const all = [...this.#latest.values()];
    const sum = (metric: keyof Totals): number => all.reduce((total, counts) => total + counts[metric], 0);
    return { likes: sum('likes'), views: sum('views') };
  }

  viewsOf(post: string): number {
    return this.#latest.get(post)?.views ?? 0;
  }

  /** Counts one frame for all its changes, which the client emits in one task. */
  #countFrame(): void {
    if (this.#inFrame) return;
    this.#inFrame = true;
    this.#frames++;
    queueMicrotask(() => (this.#inFrame = false));
  }
}
