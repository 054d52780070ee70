import type { Batch } from '../../../counters/batch.js';
import { METRICS_MAX } from '../../../counters/metrics.js';
import type { Operation } from '../../../counters/operation.js';
import { HashSorter, KeySorter, reverseBits } from './hash-sorter.js';
import { HASH_MULTIPLIER, MsgpackWriter } from './msgpack-writer.js';

/** Kinds of operations in scripts/commit-batches-n.lua; a `set` has its value, 0 or 1. */
export const OPERATION_COUNT = 2;
/** Added to the kind of an operation that has a session. */
export const OPERATION_WITH_SESSION = 4;
/** Values of a batch before the names of its posts. */
export const BATCH_HEADER_VALUES = 8;
const FIRST_OPERATIONS = 512;

/** The actors for which a batch sets a toggle of a post. */
interface MemberSet {
  /** Index of the post. */
  readonly post: number;
  readonly metric: number;
  /** One operation for each actor. */
  readonly operations: number[];
  /** Number of members in the sets before this one. */
  first: number;
}

/**
 * Encodes batches for scripts/commit-batches-n.lua. Work that takes Redis microseconds takes nanoseconds here. So the names in a
 * batch are found here, each once, and sorted in the order in which the script reads them with the fewest commands.
 */
export class BatchEncoder {
  readonly #writer = new MsgpackWriter();
  readonly #postOrder = new HashSorter();
  readonly #sessions = new KeySorter();
  readonly #actors = new KeySorter();
  readonly #indices = new Map<string, number>();
  readonly #sortedIndices: number[] = [];
  /** By operation: index of its post, of its session, and of its actor in the member set; and that set. */
  #posts = new Int32Array(FIRST_OPERATIONS);
  #marks = new Int32Array(FIRST_OPERATIONS);
  #members = new Int32Array(FIRST_OPERATIONS);
  readonly #sets: MemberSet[] = [];

  /** @returns the batch's posts, each once, and its bytes. Ids are ASCII. */
  encode({ producerId, batchNumber, afterInLog, atMs, operations }: Batch): { posts: string[]; packed: Buffer } {
    this.#gather(operations);
    const posts = this.#sortPosts(operations.length);
    const sessions = this.#sortSessions();
    const sets = this.#sortMembers(operations);
    const writer = this.#writer;
    writer.writeText(producerId);
    writer.writeInteger(batchNumber);
    writer.writeInteger(afterInLog === undefined ? 0 : afterInLog + 1);
    writer.writeInteger(atMs);
    writer.writeInteger(posts.length);
    writer.writeInteger(sessions.length);
    writer.writeInteger(sets.length);
    writer.writeInteger(sets.reduce((sum, set) => sum + set.operations.length, 0));
    for (const post of posts) writer.writeText(post);
    for (const post of posts) writer.writeInteger(hashPost(post));
    for (const i of sessions) writer.writeKey(operations[i]!.session!);
    for (const i of sessions) writer.writeInteger(this.#sessions.hashAt(i));
    for (const { post, metric, operations: own } of sets) {
      writer.writeInteger(post);
      writer.writeInteger(metric);
      writer.writeInteger(own.length);
    }
    for (const set of sets) for (const i of set.operations) writer.writeKey(operations[i]!.actor!);
    for (const set of sets) for (const i of set.operations) writer.writeInteger(this.#actors.hashAt(i));
    for (let i = 0; i < operations.length; i++) this.#write(i, operations[i]!);
    return { posts, packed: writer.take() };
  }

  #write(i: number, { metric, kind, value, actor, session, seq }: Operation): void {
    const writer = this.#writer;
    writer.writeInteger((kind === 'set' ? value : OPERATION_COUNT) + (session === null ? 0 : OPERATION_WITH_SESSION));
    writer.writeInteger(this.#posts[i]!);
    writer.writeInteger(metric);
    if (kind !== 'set') writer.writeInteger(value);
    else writer.writeInteger(actor === null ? 0 : this.#sets[i]!.first + this.#members[i]!);
    if (session === null) return;
    writer.writeInteger(this.#marks[i]!);
    writer.writeInteger(seq);
  }

  /** Collects the names in the operations. Posts have indices in order of appearance until they are sorted. */
  #gather(operations: readonly Operation[]): void {
    const { length } = operations;
    if (length > this.#posts.length) {
      this.#posts = new Int32Array(2 * length);
      this.#marks = new Int32Array(2 * length);
      this.#members = new Int32Array(2 * length);
    }
    this.#indices.clear();
    this.#postOrder.clear();
    this.#sessions.sorter.clear();
    this.#actors.sorter.clear();
    for (let i = 0; i < length; i++) {
      const { post, kind, actor, session } = operations[i]!;
      let index = this.#indices.get(post);
      if (index === undefined) {
        index = this.#indices.size;
        this.#indices.set(post, index);
        this.#postOrder.add(index, hashPost(post));
      }
      this.#posts[i] = index;
      if (session !== null) this.#sessions.add(i, session);
      if (kind === 'set' && actor !== null) this.#actors.add(i, actor);
    }
  }

  #sortPosts(operations: number): string[] {
    const unsorted = [...this.#indices.keys()];
    const order = this.#postOrder;
    order.sort();
    const posts: string[] = [];
    for (let position = 0; position < unsorted.length; position++) {
      this.#sortedIndices[order.indexAt(position)] = posts.push(unsorted[order.indexAt(position)]!);
    }
    for (let i = 0; i < operations; i++) this.#posts[i] = this.#sortedIndices[this.#posts[i]!]!;
    return posts;
  }

  /** @returns one operation for each session */
  #sortSessions(): number[] {
    const { sorter } = this.#sessions;
    const found: number[] = [];
    sorter.sort();
    for (let position = 0; position < sorter.count; position++) {
      const i = sorter.indexAt(position);
      this.#marks[i] = this.#sessions.findOrAdd(found, i);
    }
    return found;
  }

  #sortMembers(operations: readonly Operation[]): MemberSet[] {
    const { sorter } = this.#actors;
    const sets = new Map<number, MemberSet>();
    sorter.sort();
    for (let position = 0; position < sorter.count; position++) {
      const i = sorter.indexAt(position);
      const { metric } = operations[i]!;
      const post = this.#posts[i]!;
      const id = post * METRICS_MAX + metric;
      let set = sets.get(id);
      if (set === undefined) sets.set(id, (set = { post, metric, operations: [], first: 0 }));
      this.#members[i] = this.#actors.findOrAdd(set.operations, i);
      this.#sets[i] = set;
    }
    let first = 0;
    for (const set of sets.values()) {
      set.first = first;
      first += set.operations.length;
    }
    return [...sets.values()];
  }
}

/** A post's chunk is found by this hash of 20 bits. Equals `hash_post` in scripts/lib/chunks.lua. */
export function hashPost(post: string): number {
  let hash = 0;
  for (let i = 0; i < post.length; i++) hash = (Math.imul(hash, HASH_MULTIPLIER) + post.charCodeAt(i)) | 0;
  return Math.imul(hash, HASH_MULTIPLIER) >>> 12;
}

/** @returns the posts in the order in which a script reads them with the fewest commands */
export function sortForScript(posts: readonly string[]): string[] {
  return [...posts].sort((a, b) => reverseBits(hashPost(a)) - reverseBits(hashPost(b)));
}
