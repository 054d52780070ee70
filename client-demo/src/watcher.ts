import type { LiveCounts } from 'tallycast-client/widgets';

interface Totals {
  readonly likes: number;
  readonly views: number;
  readonly live: number;
}

/** What the page's client is told about some posts. */
export class Watcher {
  readonly #latest = new Map<string, Totals>();
  #counted = 0;
  #frames = 0;
  #inFrame = false;

  constructor(live: LiveCounts, posts: readonly string[]) {
    for (const post of posts) {
      live.post(post).subscribe(({ counts, delta, source }) => {
        this.#latest.set(post, counts);
        if (source !== 'remote') return;
        this.#counted += Math.abs(delta['likes'] ?? 0) + Math.abs(delta['views'] ?? 0);
        this.#frame();
      });
    }
  }

  /** What was counted, and the frames that came, since this was asked last. A like and its taking back in one tick are none. */
  take(): { readonly counted: number; readonly frames: number } {
    const taken = { counted: this.#counted, frames: this.#frames };
    this.#counted = 0;
    this.#frames = 0;
    return taken;
  }

  totals(): Totals {
    const all = [...this.#latest.values()];
    const sum = (metric: keyof Totals): number => all.reduce((total, counts) => total + counts[metric], 0);
    return { likes: sum('likes'), views: sum('views'), live: sum('live') };
  }

  viewsOf(post: string): number {
    return this.#latest.get(post)?.views ?? 0;
  }

  /** The changes of one frame are told one after the other, before anything else happens. */
  #frame(): void {
    if (this.#inFrame) return;
    this.#inFrame = true;
    this.#frames++;
    queueMicrotask(() => (this.#inFrame = false));
  }
}
