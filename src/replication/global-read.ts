import type { DeltaAck } from '../counters/replication/delta.js';
import { ProtocolError } from '../protocol/errors.js';
import type { Replication } from './start-replication.js';
import { POSTS_PER_READ_MAX } from './transport/request-splitter.js';

/** Posts that may wait at a time. */
const WAITING_MAX = 20_000;
/** Fraction of the free room that an address may take: however many addresses fill the queue, the next one finds some room. */
const SHARE_OF_FREE = 1 / 8;
const RETRY_MS = 1_000;

/** A post that waits for its read. */
interface PendingRead {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads posts from all regions and merges them here. One call of at most 500 posts to each peer is in flight at a time, and requests that
 * come meanwhile wait for a later one: this bounds the work of the peers. A post that waits already is read once.
 *
 * Calls take posts from the requesting addresses in turn. So a request for few posts waits for the call in flight and for the next one
 * only, even if other addresses request many.
 */
export class GlobalRead {
  readonly #waiting = new Map<string, PendingRead>();
  /** By address: the posts that it was the first to request. */
  readonly #queues = new Map<string | null, string[]>();
  #isReading = false;

  constructor(private readonly replication: Replication) {}

  /**
   * Resolves when everything that the regions had of these posts at the time of the call is merged here.
   * @param address of the request; `null`: exempt from limits by address
   * @throws ProtocolError that names the regions that did not respond. Other errors come from this region's store
   */
  async refresh(posts: readonly string[], address: string | null): Promise<void> {
    if (this.replication.peers.length === 0) return;
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
      throw new ProtocolError('OVERLOADED', 'too many requests for the counts of all regions', RETRY_MS);
    }
    if (address === null || this.#waiting.size === 0) return;
    const own = this.#queues.get(address)?.length ?? 0;
    if (added > 0 && own + added > free * SHARE_OF_FREE) {
      throw new ProtocolError(
        'RATE_LIMITED',
        'your address requests too many posts of all regions at once; wait for the responses, or use consistency=local',
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
        // A region that does not respond would make each of the waiting requests wait for 5 s.
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
    const { peers, peerService } = this.replication;
    const responses = await Promise.allSettled(peers.map((peer) => peer.readPosts(posts)));
    const missing = new Set<string>();
    for (const [i, { region }] of peers.entries()) {
      const response = responses[i]!;
      if (response.status === 'rejected') missing.add(region);
      else if (!(await peerService.mergeFrom(region, response.value)).every(isMerged)) missing.add(region);
    }
    if (missing.size === 0) return;
    throw new ProtocolError(
      'UNAVAILABLE',
      `these regions did not send their counts: ${[...missing].join(', ')}; consistency=local reads the counts that this region has`,
    );
  }
}

/**
 * A delta is rejected because a clock is ahead or behind, or because its incarnation is over or shares its epoch with another one. The
 * region soon starts another incarnation.
 */
function isMerged({ incarnationRejected, rejection }: DeltaAck): boolean {
  return !incarnationRejected && rejection === undefined;
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
