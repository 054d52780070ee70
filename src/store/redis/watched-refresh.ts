import type { Clock, Timer } from '../../common/clock.js';
import type { PostCounts } from '../../counters/batch.js';
import type { PostReader } from './post-reader.js';

/** Pub/sub loses messages: all watched posts are read again after each such time. */
const REREAD_INTERVAL_MS = 3_000;

/** Reads watched posts again, whose messages pub/sub may have lost. */
export class WatchedRefresh {
  #timer: Timer | null = null;
  #isReadingAll = false;
  #isRereadRequested = false;
  #isClosed = false;

  constructor(
    private readonly reader: PostReader,
    private readonly clock: Clock,
    private readonly watchedPosts: () => Iterable<string>,
    private readonly onCounts: (counts: readonly PostCounts[]) => void,
  ) {
    this.#scheduleNext();
  }

  /** Reads all watched posts, one time after another: slot after slot of a cluster may report that it has moved. */
  async readAll(): Promise<void> {
    this.#isRereadRequested = true;
    if (this.#isReadingAll) return;
    this.#isReadingAll = true;
    while (this.#isRereadRequested && !this.#isClosed) {
      this.#isRereadRequested = false;
      await this.read(this.watchedPosts());
    }
    this.#isReadingAll = false;
  }

  /** Reads one page after another, because nobody waits for them. */
  async read(posts: Iterable<string>): Promise<void> {
    try {
      for (const page of this.reader.splitByBucket(posts)) {
        const views = await this.reader.readPage(page, null);
        this.onCounts(views.map(({ counts }) => counts));
      }
    } catch {
      // Redis is down; retried after REREAD_INTERVAL_MS.
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #scheduleNext(): void {
    if (this.#isClosed) return;
    this.#timer = this.clock.after(REREAD_INTERVAL_MS, () => {
      void this.readAll().then(() => this.#scheduleNext());
    });
  }
}
