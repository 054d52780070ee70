import type { Batch } from '../../../counters/batch.js';
import { type Metrics, METRICS_MAX } from '../../../counters/metrics.js';
import type { Operation } from '../../../counters/operation.js';
import { toVisitKey } from '../../../counters/visit-key.js';
import type { Key64 } from '../../../counters/ids.js';
import { HashSorter, KeySorter, reverseBits } from './hash-sorter.js';
import { REACHED_BY } from './milestones-decoder.js';
import { HASH_MULTIPLIER, MsgpackWriter } from './msgpack-writer.js';

/** Kinds of operations in scripts/commit-batches-n.lua; a `set` has its value, 0 or 1. */
export const OPERATIONS = {
  COUNT: 2,
  VISIT: 3,
  /** Added to the kind of an operation that has a session. */
  WITH_SESSION: 4,
  /** Added, too, for each region that has forwarded it; without a session this makes no difference. */
  FORWARDED: 12,
  /** Follows a choice that is put on, for each other option. */
  PUT_OFF: 8,
} as const;
/** Values of a batch before the names of its posts. */
export const BATCH_HEADER_VALUES = 11;
/** Instead of the number of operations that are named, if one of them is the sum of several. */
const WITH_SUMS = -1;
/** Instead of a position in a log. */
const IS_REPLAY = -1;
const FIRST_OPERATIONS = 512;

/** An operation, or what it does to another option of its group. */
type BatchEntry = Omit<Operation, 'kind'> & { readonly kind: Operation['kind'] | 'put off' };

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
  readonly #visits = new KeySorter();
  readonly #visitKeys: Key64[] = [];
  readonly #actors = new KeySorter();
  readonly #indices = new Map<string, number>();
  readonly #sortedIndices: number[] = [];
  /** By entry: index of its post, of its session, of its visit's key, and of its actor in the member set; and that set. */
  #posts = new Int32Array(FIRST_OPERATIONS);
  #marks = new Int32Array(FIRST_OPERATIONS);
  #counted = new Int32Array(FIRST_OPERATIONS);
  #members = new Int32Array(FIRST_OPERATIONS);
  readonly #sets: MemberSet[] = [];

  readonly #hasChoices: boolean;

  constructor(private readonly metrics: Metrics) {
    this.#hasChoices = metrics.otherOptions.some(({ length }) => length > 0);
  }

  /**
   * Ids are ASCII.
   * @param isNamed whether it has the kinds and actors of all operations, for records of milestones
   * @returns the batch's posts, each once, and its bytes
   */
  encode(batch: Batch, isNamed = false): { posts: string[]; packed: Buffer } {
    const { producerId, batchNumber, afterInLog, atMs } = batch;
    const entries = this.#addOptions(batch.operations);
    this.#gather(entries);
    const posts = this.#sortPosts(entries.length);
    const sessions = sortMarked(this.#sessions, this.#marks);
    const visits = sortMarked(this.#visits, this.#counted);
    const sets = this.#sortMembers(entries);
    const writer = this.#writer;
    writer.writeText(producerId);
    writer.writeInteger(batchNumber);
    writer.writeInteger(batch.isReplay === true ? IS_REPLAY : afterInLog === undefined ? 0 : afterInLog + 1);
    writer.writeInteger(atMs);
    writer.writeInteger(posts.length);
    writer.writeInteger(sessions.length);
    writer.writeInteger(visits.length);
    writer.writeInteger(this.metrics.longestWindowS * 1_000);
    writer.writeInteger(sets.length);
    writer.writeInteger(sets.reduce((sum, set) => sum + set.operations.length, 0));
    writer.writeInteger(isNamed ? batch.operations.length : batch.hasSums === true ? WITH_SUMS : 0);
    for (const post of posts) writer.writeText(post);
    for (const post of posts) writer.writeInteger(hashPost(post));
    for (const i of sessions) writer.writeKey(entries[i]!.session!);
    for (const i of sessions) writer.writeInteger(this.#sessions.hashAt(i));
    for (const i of visits) writer.writeKey(this.#visitKeys[i]!);
    for (const i of visits) writer.writeInteger(this.#visits.hashAt(i));
    for (const { post, metric, operations: own } of sets) {
      writer.writeInteger(post);
      writer.writeInteger(metric);
      writer.writeInteger(own.length);
    }
    for (const set of sets) for (const i of set.operations) writer.writeKey(entries[i]!.actor!);
    for (const set of sets) for (const i of set.operations) writer.writeInteger(this.#actors.hashAt(i));
    if (isNamed) for (const operation of batch.operations) this.#writeName(operation);
    for (let i = 0; i < entries.length; i++) this.#write(i, entries[i]!);
    return { posts, packed: writer.take() };
  }

  #write(i: number, { metric, kind, value, actor, session, seq, atS, isForwarded, hops = 1 }: BatchEntry): void {
    const writer = this.#writer;
    const withSession = OPERATIONS.WITH_SESSION + (isForwarded === true ? hops * OPERATIONS.FORWARDED : 0);
    writer.writeInteger(kindOf(kind, value) + (session === null ? 0 : withSession));
    writer.writeInteger(this.#posts[i]!);
    writer.writeInteger(metric);
    if (kind === 'visit') writer.writeInteger(this.#counted[i]!);
    else if (kind === 'add' || kind === 'adjust') writer.writeInteger(value);
    else writer.writeInteger(actor === null ? 0 : this.#sets[i]!.first + this.#members[i]!);
    if (session !== null) {
      writer.writeInteger(this.#marks[i]!);
      writer.writeInteger(seq);
    }
    if (kind !== 'visit') return;
    writer.writeInteger(atS ?? 0);
    writer.writeInteger(this.metrics.list[metric]!.kind.windowS);
  }

  #writeName({ kind, actor }: Operation): void {
    this.#writer.writeInteger(REACHED_BY[kind]);
    if (actor === null) this.#writer.writeText('');
    else this.#writer.writeKey(actor);
  }

  /** @returns the operations, each choice that is put on with what it does to the other options of its group */
  #addOptions(operations: readonly Operation[]): readonly BatchEntry[] {
    const { otherOptions } = this.metrics;
    const choosesOn = ({ kind, metric, value, actor }: Operation): boolean =>
      kind === 'set' && value === 1 && actor !== null && otherOptions[metric]!.length > 0;
    if (!this.#hasChoices || !operations.some(choosesOn)) return operations;
    return operations.flatMap((operation): BatchEntry[] => {
      if (!choosesOn(operation)) return [operation];
      const others = otherOptions[operation.metric]!;
      return [
        operation,
        ...others.map((metric) => ({ ...operation, metric, kind: 'put off' as const, session: null, seq: 0 })),
      ];
    });
  }

  /** Collects the names in the operations. Posts have indices in order of appearance until they are sorted. */
  #gather(entries: readonly BatchEntry[]): void {
    const { length } = entries;
    if (length > this.#posts.length) {
      this.#posts = new Int32Array(2 * length);
      this.#marks = new Int32Array(2 * length);
      this.#counted = new Int32Array(2 * length);
      this.#members = new Int32Array(2 * length);
    }
    this.#indices.clear();
    this.#postOrder.clear();
    this.#sessions.sorter.clear();
    this.#visits.sorter.clear();
    this.#actors.sorter.clear();
    for (let i = 0; i < length; i++) {
      const { post, metric, kind, actor, session } = entries[i]!;
      let index = this.#indices.get(post);
      if (index === undefined) {
        index = this.#indices.size;
        this.#indices.set(post, index);
        this.#postOrder.add(index, hashPost(post));
      }
      this.#posts[i] = index;
      if (session !== null) this.#sessions.add(i, session);
      if (actor === null) continue;
      if (kind === 'set' || kind === 'put off') this.#actors.add(i, actor);
      else if (kind === 'visit') this.#visits.add(i, (this.#visitKeys[i] = toVisitKey(post, metric, actor)));
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

  #sortMembers(entries: readonly BatchEntry[]): MemberSet[] {
    const { sorter } = this.#actors;
    const sets = new Map<number, MemberSet>();
    sorter.sort();
    for (let position = 0; position < sorter.count; position++) {
      const i = sorter.indexAt(position);
      const { metric } = entries[i]!;
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

function kindOf(kind: BatchEntry['kind'], value: number): number {
  if (kind === 'set') return value;
  if (kind === 'visit') return OPERATIONS.VISIT;
  return kind === 'put off' ? OPERATIONS.PUT_OFF : OPERATIONS.COUNT;
}

/**
 * @param keys of entries; @param positions gets, by entry, the position of its key, from 1
 * @returns one entry for each key
 */
function sortMarked(keys: KeySorter, positions: Int32Array): number[] {
  const { sorter } = keys;
  const found: number[] = [];
  sorter.sort();
  for (let position = 0; position < sorter.count; position++) {
    const i = sorter.indexAt(position);
    positions[i] = keys.findOrAdd(found, i);
  }
  return found;
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
