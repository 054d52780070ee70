import type { LiveCounts, Post } from 'tallycast-client/widgets';

/** Increments and decrements of a metric. */
interface Turns {
  up: number;
  down: number;
}

interface Entry {
  readonly made: Turns;
  readonly acknowledged: Turns;
}

/** The bounds between which an exact gateway counts. */
interface Bounds {
  readonly least: number;
  readonly most: number;
}

/** The operations that the clients of this page make on one post, to be compared with what the gateway counts. */
export class Ledger {
  readonly #entries = { likes: newEntry(), views: newEntry() };

  /**
   * @param liked called when the client turns its like, with the promise of the acknowledgement
   * @returns a client that also enters its operations here
   */
  watch(live: LiveCounts, liked?: (done: Promise<void>) => void): LiveCounts {
    const makePost = (id: string): Post => {
      const post = live.post(id);
      const set = (metric: string, on: boolean): Promise<void> => {
        const done = this.#enter(metric, on ? { up: 1, down: 0 } : { up: 0, down: 1 }, post.set(metric, on));
        if (metric === 'likes') liked?.(done);
        return done;
      };
      const add = (metric: string, by = 1): Promise<void> => {
        return this.#enter(metric, { up: by, down: 0 }, post.add(metric, by));
      };
      const like = (): Promise<void> => set('likes', true);
      return { ...post, set, add, like, unlike: () => set('likes', false), view: () => add('views') };
    };
    return new Proxy(live, {
      get: (target, name) => {
        if (name === 'post') return makePost;
        const member: unknown = Reflect.get(target, name);
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    });
  }

  /** Likes after all operations that were made, acknowledged or not. */
  get likesMade(): number {
    return difference(this.#entries.likes.made);
  }

  acknowledged(metrics: readonly Metric[]): number {
    return sum(metrics.map((metric) => difference(this.#entries[metric].acknowledged)));
  }

  /**
   * Call it before the counts are read, and the returned function afterwards: operations that are on their way in between
   * may be counted or not.
   */
  startReading(metrics: readonly Metric[]): () => Bounds {
    const before = metrics.map((metric) => ({ ...this.#entries[metric].acknowledged }));
    return () => {
      const after = metrics.map((metric) => this.#entries[metric].made);
      return {
        least: sum(before.map(({ up }, i) => up - after[i]!.down)),
        most: sum(before.map(({ down }, i) => after[i]!.up - down)),
      };
    };
  }

  async #enter(metric: string, { up, down }: Turns, done: Promise<void>): Promise<void> {
    const entry = this.#entries[metric as Metric];
    entry.made.up += up;
    entry.made.down += down;
    // An operation whose promise rejects stays made: it may have been counted.
    await done;
    entry.acknowledged.up += up;
    entry.acknowledged.down += down;
  }
}

export type Metric = 'likes' | 'views';

function newEntry(): Entry {
  return { made: { up: 0, down: 0 }, acknowledged: { up: 0, down: 0 } };
}

function difference({ up, down }: Turns): number {
  return up - down;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
