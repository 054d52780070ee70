import type { Milestones } from '../../counters/milestones.js';
import type { LmdbTable } from './disk/lmdb-table.js';
import { decodeMilestones, listMilestonePosts, POST_PREFIX } from './disk/milestones-record.js';

/** Posts whose milestones are read from disk, or settled, in one group commit: some milliseconds. */
const POSTS_AT_ONCE = 1_000;

/**
 * Posts with milestones that may need a change by no operation: see `ReplicatedHomes.settle`. They are found on disk after a start, a
 * page at a time, and noted when they change. At most as many as have armed milestones, which ARMED_PER_BUCKET_MAX bounds, and the last
 * ones that had.
 */
export class UnsettledPosts {
  readonly #posts = new Set<string>();
  /** The last post that was found on disk; `null`: all were. */
  #foundUpTo: string | null = '';

  /** @param region the own one */
  constructor(
    private readonly table: LmdbTable,
    private readonly region: string,
  ) {}

  /** To be called with each change. */
  note(post: string, milestones: Milestones): void {
    if (needsSettling(milestones, this.region)) this.#posts.add(post);
  }

  /** @returns the next ones, in the order of their names. They are to be noted again if they still need it */
  take(): string[] {
    this.#find();
    const posts = [...this.#posts].slice(0, POSTS_AT_ONCE);
    for (const post of posts) this.#posts.delete(post);
    return posts.sort();
  }

  #find(): void {
    if (this.#foundUpTo === null) return;
    const posts = listMilestonePosts(this.table, this.#foundUpTo, POSTS_AT_ONCE);
    for (const post of posts) {
      const bytes = this.table.get(POST_PREFIX + post);
      for (const one of bytes === undefined ? [] : decodeMilestones(bytes)) if (one !== null) this.note(post, one);
    }
    this.#foundUpTo = posts.length < POSTS_AT_ONCE ? null : posts.at(-1)!;
  }
}

function needsSettling({ shared, armed, reached }: Milestones, region: string): boolean {
  if (shared === undefined) return false;
  const { home } = shared;
  const decides = home?.region === region && home.mode === 'strict';
  return armed.length > 0 || decides || reached.some((one) => one.region === region && one.isFinal !== true);
}
