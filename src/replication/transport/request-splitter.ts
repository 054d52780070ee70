import { pages } from '../../common/grouping.js';
import { type MembersDelta, subsetOf, type PostDelta, type Delta } from '../../counters/replication/delta.js';
import type { BucketDigest } from './peer.js';
import { encodeDigests, encodePosts } from './message-codec.js';
import { encodeDeltas } from './delta-codec.js';

/** A body that a region takes from another. */
export const REQUEST_BYTES_MAX = 1024 * 1024;
/** Posts that one request may ask for, so that its answer stays small and takes no long time. */
export const POSTS_PER_READ_MAX = 500;

/** Part of what is to be told, as one body. */
export interface EncodedRequest<T> {
  readonly bytes: Buffer;
  /** What is in it, in order. */
  readonly items: readonly T[];
}

/** A shipment or a part of one, and which of the list it was. */
export interface DeltaFragment {
  readonly shipment: Delta;
  readonly index: number;
}

/** Encodes what links to several peers carry at the same time once. Of that it keeps the last. */
export class PushRequests {
  #shipments: readonly Delta[] = [];
  #requests: readonly EncodedRequest<DeltaFragment>[] = [];

  encode(shipments: readonly Delta[]): readonly EncodedRequest<DeltaFragment>[] {
    const known = this.#shipments;
    const isKnown = known.length === shipments.length && known.every((one, i) => one === shipments[i]);
    if (!isKnown || known.length === 0) {
      this.#requests = encodePushRequests(shipments);
      this.#shipments = shipments;
    }
    return this.#requests;
  }
}

/**
 * Shipments as bodies under the limit, to be sent in this order. One that is larger alone goes in parts, of which only the last
 * says how far it reaches; of a post its entries and registers come before members, which would take off whom they do not name.
 * @throws Error if what cannot be divided is larger than `bytesMax`
 */
export function encodePushRequests(
  shipments: readonly Delta[],
  bytesMax = REQUEST_BYTES_MAX,
): EncodedRequest<DeltaFragment>[] {
  const shipped = shipments.map((shipment, index) => ({ shipment, index }));
  return splitToFit(
    shipped,
    (list) => encodeDeltas(list.map(({ shipment }) => shipment)),
    bytesMax,
    ({ shipment, index }) => splitDelta(shipment).map((part) => ({ shipment: part, index })),
  );
}

export function encodeDigestRequests(digests: readonly BucketDigest[]): EncodedRequest<BucketDigest>[] {
  return splitToFit(digests, encodeDigests, REQUEST_BYTES_MAX, tooLarge);
}

export function encodePostRequests(posts: readonly string[]): EncodedRequest<string>[] {
  return pages(posts, POSTS_PER_READ_MAX).map((items) => ({ bytes: encodePosts(items), items }));
}

/** Halves what is too large, which is rare, until it is not. */
function splitToFit<T>(
  items: readonly T[],
  encode: (items: readonly T[]) => Buffer,
  bytesMax: number,
  split: (item: T) => readonly T[],
): EncodedRequest<T>[] {
  const bytes = encode(items);
  if (bytes.length <= bytesMax) return [{ bytes, items }];
  const parts = items.length === 1 ? split(items[0]!) : items;
  return halve(parts).flatMap((half) => splitToFit(half, encode, bytesMax, split));
}

function halve<T>(list: readonly T[]): [T[], T[]] {
  const middle = Math.ceil(list.length / 2);
  return [list.slice(0, middle), list.slice(middle)];
}

function tooLarge(): never {
  throw new Error('what cannot be divided is larger than a request may be');
}

function splitDelta(shipment: Delta): Delta[] {
  const { posts } = shipment;
  const [first, last] = posts.length > 1 ? halve(posts) : splitPost(posts[0] ?? tooLarge()).map((post) => [post]);
  const kind = shipment.kind === 'full-sync-end' ? 'full-sync' : shipment.kind;
  return [
    { ...shipment, kind, upTo: shipment.after, fullSyncReceiver: null, posts: first! },
    { ...shipment, posts: last! },
  ];
}

function splitPost(shipment: PostDelta): [PostDelta, PostDelta] {
  const { entries, registers, members } = shipment;
  const nothing = { ...shipment, entries: [], registers: [], members: [] };
  if (members.length > 0 && entries.length + registers.length > 0) {
    return [
      { ...shipment, members: [] },
      { ...nothing, members },
    ];
  }
  if (members.length > 0) {
    const [first, last] = members.length > 1 ? halve(members) : splitMembers(members[0]!);
    return [
      { ...nothing, members: first },
      { ...nothing, members: last },
    ];
  }
  if (registers.length > 1) {
    const [first, last] = halve(registers);
    return [
      { ...shipment, registers: first },
      { ...nothing, registers: last },
    ];
  }
  if (entries.length < 2) tooLarge();
  const [first, last] = halve(entries);
  return [
    { ...shipment, entries: first },
    { ...nothing, entries: last },
  ];
}

/** Twice as many parts: what falls into one of them falls into one of two, `subsets` apart. */
function splitMembers({
  metric,
  subset: part,
  subsets: parts,
  actors,
}: MembersDelta): [MembersDelta[], MembersDelta[]] {
  // `subsetOf` tells no more than this many apart.
  if (actors.length < 2 || parts > 2 ** 31) tooLarge();
  const [first, last] = [part, part + parts].map((half): MembersDelta[] => {
    const inHalf = actors.filter((actor) => subsetOf(actor, 2 * parts) === half);
    return [{ metric, subset: half, subsets: 2 * parts, actors: inHalf }];
  });
  return [first!, last!];
}
