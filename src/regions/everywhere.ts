import { ProtocolError } from '../protocol/errors.js';
import type { Regions } from './regions.js';

/** Posts that wait to be asked for; a request names at most 10,000. */
const WAITING_MAX = 20_000;
const OVERLOADED_RETRY_MS = 1_000;

/** Posts that are asked for together. */
interface Round {
  readonly posts: Set<string>;
  readonly done: Promise<void>;
}

/**
 * Brings here what any region knows of posts. One round of calls is under way at a time, each peer is asked once for 500 posts,
 * and who comes meanwhile goes with the next round: peers have no more to do than that, however many ask here.
 */
export class Everywhere {
  #lastDone: Promise<void> = Promise.resolve();
  #next: Round | null = null;

  constructor(private readonly regions: Regions) {}

  /**
   * Resolves when what the regions had of these posts at the time of the call is merged here.
   * @throws ProtocolError that names those that did not answer. Other errors are the own store's
   */
  async gather(posts: readonly string[]): Promise<void> {
    this.#next ??= this.#roundAfter(this.#lastDone);
    const { posts: asked, done } = this.#next;
    if (asked.size + posts.length > WAITING_MAX) {
      throw new ProtocolError('OVERLOADED', 'too many ask for the counts of all regions', OVERLOADED_RETRY_MS);
    }
    for (const post of posts) asked.add(post);
    await done;
  }

  #roundAfter(before: Promise<void>): Round {
    const posts = new Set<string>();
    const done = before.then(() => {
      this.#next = null;
      return this.#ask([...posts]);
    });
    this.#lastDone = done.catch(() => undefined);
    return { posts, done };
  }

  async #ask(posts: readonly string[]): Promise<void> {
    const { peers, service } = this.regions;
    const answers = await Promise.allSettled(peers.map((peer) => peer.show(posts)));
    const silent = new Set<string>();
    for (const [i, { region }] of peers.entries()) {
      const answer = answers[i]!;
      const receipts = answer.status === 'fulfilled' ? await service.shipped(region, answer.value) : null;
      // Refused: of two lives with one epoch, or one that is over. Its region soon begins another.
      if (receipts?.every(({ refused }) => !refused) !== true) silent.add(region);
    }
    if (silent.size === 0) return;
    throw new ProtocolError(
      'UNAVAILABLE',
      `these regions did not tell their counts: ${[...silent].join(', ')}; consistency=local reads what is known here`,
    );
  }
}
