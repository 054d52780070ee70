import { type MembersShipment, partOf, type PostShipment, type Shipment } from '../../counters/replication/delta.js';
import type { BucketDigest } from './peer.js';
import { encodeDigests, encodePosts } from './message-codec.js';
import { encodeShipments } from './delta-codec.js';

/** A body that a region takes from another. */
export const REQUEST_BYTES_MAX = 1024 * 1024;
/** Posts that one request may ask for, so that its answer stays small and takes no long time. */
export const SHOWN_MAX = 500;

/** Part of what is to be told, as one body. */
export interface Request<T> {
  readonly bytes: Buffer;
  /** What is in it, in order. */
  readonly items: readonly T[];
}

/** A shipment or a part of one, and which of the list it was. */
export interface Shipped {
  readonly shipment: Shipment;
  readonly index: number;
}

/** Encodes what links to several peers carry at the same time once. Of that it keeps the last. */
export class ShipRequests {
  #shipments: readonly Shipment[] = [];
  #requests: readonly Request<Shipped>[] = [];

  of(shipments: readonly Shipment[]): readonly Request<Shipped>[] {
    const known = this.#shipments;
    const isKnown = known.length === shipments.length && known.every((one, i) => one === shipments[i]);
    if (!isKnown || known.length === 0) {
      this.#requests = shipRequests(shipments);
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
export function shipRequests(shipments: readonly Shipment[], bytesMax = REQUEST_BYTES_MAX): Request<Shipped>[] {
  const shipped = shipments.map((shipment, index) => ({ shipment, index }));
  return inRequests(
    shipped,
    (list) => encodeShipments(list.map(({ shipment }) => shipment)),
    bytesMax,
    ({ shipment, index }) => partsOf(shipment).map((part) => ({ shipment: part, index })),
  );
}

export function compareRequests(digests: readonly BucketDigest[]): Request<BucketDigest>[] {
  return inRequests(digests, encodeDigests, REQUEST_BYTES_MAX, tooLarge);
}

export function showRequests(posts: readonly string[]): Request<string>[] {
  const requests: Request<string>[] = [];
  for (let at = 0; at < posts.length; at += SHOWN_MAX) {
    const items = posts.slice(at, at + SHOWN_MAX);
    requests.push({ bytes: encodePosts(items), items });
  }
  return requests;
}

/** Halves what is too large, which is rare, until it is not. */
function inRequests<T>(
  items: readonly T[],
  encode: (items: readonly T[]) => Buffer,
  bytesMax: number,
  split: (item: T) => readonly T[],
): Request<T>[] {
  const bytes = encode(items);
  if (bytes.length <= bytesMax) return [{ bytes, items }];
  const parts = items.length === 1 ? split(items[0]!) : items;
  return halvesOf(parts).flatMap((half) => inRequests(half, encode, bytesMax, split));
}

function halvesOf<T>(list: readonly T[]): [T[], T[]] {
  const middle = Math.ceil(list.length / 2);
  return [list.slice(0, middle), list.slice(middle)];
}

function tooLarge(): never {
  throw new Error('what cannot be divided is larger than a request may be');
}

function partsOf(shipment: Shipment): Shipment[] {
  const { posts } = shipment;
  const [first, last] = posts.length > 1 ? halvesOf(posts) : partsOfPost(posts[0] ?? tooLarge()).map((post) => [post]);
  const kind = shipment.kind === 'end' ? 'scan' : shipment.kind;
  return [
    { ...shipment, kind, upTo: shipment.after, shown: null, posts: first! },
    { ...shipment, posts: last! },
  ];
}

function partsOfPost(shipment: PostShipment): [PostShipment, PostShipment] {
  const { entries, registers, members } = shipment;
  const nothing = { ...shipment, entries: [], registers: [], members: [] };
  if (members.length > 0 && entries.length + registers.length > 0) {
    return [
      { ...shipment, members: [] },
      { ...nothing, members },
    ];
  }
  if (members.length > 0) {
    const [first, last] = members.length > 1 ? halvesOf(members) : partsOfMembers(members[0]!);
    return [
      { ...nothing, members: first },
      { ...nothing, members: last },
    ];
  }
  if (registers.length > 1) {
    const [first, last] = halvesOf(registers);
    return [
      { ...shipment, registers: first },
      { ...nothing, registers: last },
    ];
  }
  if (entries.length < 2) tooLarge();
  const [first, last] = halvesOf(entries);
  return [
    { ...shipment, entries: first },
    { ...nothing, entries: last },
  ];
}

/** Twice as many parts: what falls into one of them falls into one of two, `parts` apart. */
function partsOfMembers({ metric, part, parts, actors }: MembersShipment): [MembersShipment[], MembersShipment[]] {
  // `partOf` tells no more than this many apart.
  if (actors.length < 2 || parts > 2 ** 31) tooLarge();
  const [first, last] = [part, part + parts].map((half): MembersShipment[] => {
    const inHalf = actors.filter((actor) => partOf(actor, 2 * parts) === half);
    return [{ metric, part: half, parts: 2 * parts, actors: inHalf }];
  });
  return [first!, last!];
}
