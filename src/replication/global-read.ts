import { ProtocolError } from '../protocol/errors.js';
import type { Replication } from './regions.js';
import { POSTS_PER_READ_MAX } from './transport/request-splitter.js';

/** Posts that wait to be asked for. */
const WAITING_MAX = 20_000;
/** Of what is free an address may take this part: however many addresses fill it, the next one finds some room. */
const SHARE_OF_FREE = 1 / 8;
const RETRY_MS = 1_000;

/** A post that waits to be asked for. */
interface PendingRead {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Brings here what any region knows of posts. One call to each peer is under way at a time, for at most 500 posts, and who comes
 * meanwhile waits for a later one: peers have no more to do than that, however many ask here. A post that waits already is not
 * asked for twice.
 *
 * Calls are filled from the addresses that ask, in turn. So who asks for few posts waits for the call that is under way and for
 * the next, however many others ask for.
 */
export class GlobalRead {
  readonly #waiting = new Map<string, PendingRead>();
  /** Of each address, the posts that it was the first to ask for. */
  readonly #queues = new Map<string | null, string[]>();
  #isReading = false;

  constructor(private readonly regions: Replication) {}

  /**
   * Resolves when what the regions had of these posts at the time of the call is merged here.
   * @param address who asks; `null`: somebody who is spared limits by address
   * @throws ProtocolError that names the regions that did not answer. Other errors are the own store's
   */
  async refresh(posts: readonly string[], address: string | null): Promise<void> {
    const added = posts.filter((post) => !this.#waiting.has(post));
    this.#admit(added.length, address);
    const queue = this.#queues.get(address) ?? [];
    if (queue.length === 0) this.#queues.set(address, queue);
    for (const post of added) {
      this.#waiting.set(post, newPendingRead());
      queue.push(post);
    }
    const all = Promise.all(posts.map((post) => this.#waiting.get(post)!.done));
    if (!this.#isReading) void this.#readAll();
    await all;
  }

  #admit(added: number, address: string | null): void {
    const free = WAITING_MAX - this.#waiting.size;
    if (added > free) {
      throw new ProtocolError('OVERLOADED', 'too many ask for the counts of all regions', RETRY_MS);
    }
    if (address === null || this.#waiting.size === 0) return;
    const own = this.#queues.get(address)?.length ?? 0;
    if (added > 0 && own + added > free * SHARE_OF_FREE) {
      throw new ProtocolError(
        'RATE_LIMITED',
        'your address asks for too many posts of all regions at once; wait for the answers, or use consistency=local',
        RETRY_MS,
      );
    }
  }

  async #readAll(): Promise<void> {
    this.#isReading = true;
    while (this.#waiting.size > 0) {
      const taken = this.#take();
      try {
        await this.#readFromPeers([...taken.keys()]);
        for (const { resolve } of taken.values()) resolve();
      } catch (error) {
        for (const { reject } of taken.values()) reject(error);
        // A region that is silent would be so to those who wait, for 5 s each.
        if (error instanceof ProtocolError) this.#rejectWaiting(error);
      }
    }
    this.#isReading = false;
  }

  /** The first post of each address, then the second of each, and so on. */
  #take(): Map<string, PendingRead> {
    const taken = new Map<string, PendingRead>();
    const queues = [...this.#queues.values()];
    for (let i = 0; taken.size < POSTS_PER_READ_MAX && queues.some((queue) => i < queue.length); i++) {
      for (const queue of queues) {
        const post = queue[i];
        if (post === undefined || taken.size === POSTS_PER_READ_MAX) continue;
        taken.set(post, this.#waiting.get(post)!);
        this.#waiting.delete(post);
      }
    }
    for (const [address, queue] of this.#queues) {
      const left = queue.filter((post) => !taken.has(post));
      if (left.length > 0) this.#queues.set(address, left);
      else this.#queues.delete(address);
    }
    return taken;
  }

  #rejectWaiting(error: ProtocolError): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#queues.clear();
  }

  async #readFromPeers(posts: readonly string[]): Promise<void> {
    const { peers, peerService: service } = this.regions;
    const answers = await Promise.allSettled(peers.map((peer) => peer.readPosts(posts)));
    const silent = new Set<string>();
    for (const [i, { region }] of peers.entries()) {
      const answer = answers[i]!;
      const receipts = answer.status === 'fulfilled' ? await service.mergeFrom(region, answer.value) : null;
      // Rejected: its clock is ahead, or ours behind. Refused: of two lives with one epoch, or one that is over. Its region soon begins another.
      if (
        receipts?.every(({ incarnationRejected: refused, rejection }) => !refused && rejection === undefined) !== true
      )
        silent.add(region);
    }
    if (silent.size === 0) return;
    throw new ProtocolError(
      'UNAVAILABLE',
      `these regions did not tell their counts: ${[...silent].join(', ')}; consistency=local reads what is known here`,
    );
  }
}

/** `Promise.withResolvers`, which Node 20 lacks. */
function newPendingRead(): PendingRead {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const done = new Promise<void>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { done, resolve, reject };
}
