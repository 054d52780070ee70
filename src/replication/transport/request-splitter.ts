import { pages } from '../../common/grouping.js';
import { type Delta, type MembersDelta, type PostDelta, subsetOf } from '../../counters/replication/delta.js';
import type { BucketDigest } from './peer.js';
import { encodeDigests, encodePosts } from './message-codec.js';
import { encodeDeltas } from './delta-codec.js';

/** Largest body that a region accepts from another one. */
export const REQUEST_BYTES_MAX = 1024 * 1024;
/** Bounds the size of the response and the time to make it. */
export const POSTS_PER_READ_MAX = 500;

/** Some of the items, as one body. */
export interface EncodedRequest<T> {
  readonly bytes: Buffer;
  /** The encoded items, in order. */
  readonly items: readonly T[];
}

/** A delta or a fragment of one, and the index of the delta in the list. */
export interface DeltaFragment {
  readonly delta: Delta;
  readonly index: number;
}

/** Encodes deltas once that links push to several peers at the same time. It keeps only the last requests. */
export class PushRequests {
  #deltas: readonly Delta[] = [];
  #requests: readonly EncodedRequest<DeltaFragment>[] = [];

  encode(deltas: readonly Delta[]): readonly EncodedRequest<DeltaFragment>[] {
    const last = this.#deltas;
    const isSame = last.length > 0 && last.length === deltas.length && last.every((one, i) => one === deltas[i]);
    if (!isSame) {
      this.#requests = encodePushRequests(deltas);
      this.#deltas = deltas;
    }
    return this.#requests;
  }
}

/**
 * Encodes deltas as bodies under the limit, to be sent in this order. A larger delta is split into fragments, and only the last one has its
 * `upTo`. The entries and registers of a post come before its members, because members switch off all actors that they do not name. Homes come
 * with the last of them, whole.
 * @throws Error if a delta that cannot be split is larger than `bytesMax`
 */
export function encodePushRequests(
  deltas: readonly Delta[],
  bytesMax = REQUEST_BYTES_MAX,
): EncodedRequest<DeltaFragment>[] {
  const fragments = deltas.map((delta, index) => ({ delta, index }));
  return splitToFit(
    fragments,
    (list) => encodeDeltas(list.map(({ delta }) => delta)),
    bytesMax,
    ({ delta, index }) => splitDelta(delta).map((half) => ({ delta: half, index })),
  );
}

export function encodeDigestRequests(digests: readonly BucketDigest[]): EncodedRequest<BucketDigest>[] {
  return splitToFit(digests, encodeDigests, REQUEST_BYTES_MAX, tooLarge);
}

export function encodePostRequests(posts: readonly string[]): EncodedRequest<string>[] {
  return pages(posts, POSTS_PER_READ_MAX).map((items) => ({ bytes: encodePosts(items), items }));
}

/** Halves the items until each request fits. Most fit at once. */
function splitToFit<T>(
  items: readonly T[],
  encode: (items: readonly T[]) => Buffer,
  bytesMax: number,
  split: (item: T) => readonly T[],
): EncodedRequest<T>[] {
  const bytes = encode(items);
  if (bytes.length <= bytesMax) return [{ bytes, items }];
  const smaller = items.length === 1 ? split(items[0]!) : items;
  return halve(smaller).flatMap((half) => splitToFit(half, encode, bytesMax, split));
}

function halve<T>(list: readonly T[]): [T[], T[]] {
  const middle = Math.ceil(list.length / 2);
  return [list.slice(0, middle), list.slice(middle)];
}

function tooLarge(): never {
  throw new Error('an item that cannot be split is larger than a request may be');
}

function splitDelta(delta: Delta): Delta[] {
  const { posts } = delta;
  const [first, last] = posts.length > 1 ? halve(posts) : splitPost(posts[0] ?? tooLarge()).map((post) => [post]);
  const kind = delta.kind === 'full-sync-end' ? 'full-sync' : delta.kind;
  return [
    { ...delta, kind, upTo: delta.after, fullSyncReceiver: null, posts: first! },
    { ...delta, posts: last! },
  ];
}

function splitPost(delta: PostDelta): [PostDelta, PostDelta] {
  const { post, updatedAtMs, entries, registers, members } = delta;
  // Homes are merged after the counts of their post, so they are in the last part.
  const counts = { post, updatedAtMs, entries, registers, members };
  const empty = { ...delta, entries: [], registers: [], members: [] };
  if (members.length > 0 && entries.length + registers.length > 0) {
    return [
      { ...counts, members: [] },
      { ...empty, members },
    ];
  }
  if (members.length > 0) {
    const [first, last] = members.length > 1 ? halve(members) : splitMembers(members[0]!);
    return [
      { ...counts, entries: [], registers: [], members: first },
      { ...empty, members: last },
    ];
  }
  if (registers.length > 1) {
    const [first, last] = halve(registers);
    return [
      { ...counts, registers: first },
      { ...empty, registers: last },
    ];
  }
  if (entries.length < 2) tooLarge();
  const [first, last] = halve(entries);
  return [
    { ...counts, entries: first },
    { ...empty, entries: last },
  ];
}

/** Doubles the number of subsets: the actors of one subset fall into two, which are `subsets` apart. */
function splitMembers({ metric, subset, subsets, actors }: MembersDelta): [MembersDelta[], MembersDelta[]] {
  // `subsetOf` distinguishes 2^32 subsets at most.
  if (actors.length < 2 || subsets > 2 ** 31) tooLarge();
  const [first, last] = [subset, subset + subsets].map((half): MembersDelta[] => {
    const inHalf = actors.filter((actor) => subsetOf(actor, 2 * subsets) === half);
    return [{ metric, subset: half, subsets: 2 * subsets, actors: inHalf }];
  });
  return [first!, last!];
}
