import type { Key64 } from '../../../counters/ids.js';
import type { EntryDelta, Delta } from '../../../counters/replication/delta.js';
import { toRegionNumber } from '../../../counters/replication/hybrid-clock.js';
import { hashPost } from './batch-encoder.js';
import { MsgpackWriter } from './msgpack-writer.js';

/** Where a toggle's state comes from: a register of the delta, or its members. The index is what the script is sent. */
export const TOGGLE_BASES = ['register', 'members', 'repair'] as const;
/** Values of a fragment before the names of its posts. */
export const FRAGMENT_HEADER_VALUES = 16;

/** A toggle that a shipment speaks of: by a register, or as one whose members differ here. */
export interface IncomingToggle {
  readonly post: string;
  readonly metric: number;
  readonly actor: Key64;
  readonly stamp: number;
  readonly on: boolean;
  readonly basis: (typeof TOGGLE_BASES)[number];
}

/** What one call merges of a shipment. */
export interface DeltaFragment {
  readonly delta: Delta;
  readonly entries: readonly (EntryDelta & { readonly post: string })[];
  readonly toggles: readonly IncomingToggle[];
  /** Moves what the receiver has of the source: only when all else was merged. */
  readonly isLast: boolean;
}

/** Hands out places, from 1, to what is named. */
class Places<T> {
  readonly list: T[] = [];
  readonly #places = new Map<string, number>();

  of(name: string, thing: T): number {
    let place = this.#places.get(name);
    if (place === undefined) this.#places.set(name, (place = this.list.push(thing)));
    return place;
  }
}

/** Writes parts of shipments as scripts/merge-deltas-n.lua is given them. */
export class DeltaEncoder {
  readonly #writer = new MsgpackWriter();

  /** @returns the part's posts, each once, and its bytes */
  encode(part: DeltaFragment): { posts: readonly string[]; packed: Buffer } {
    const { entries, toggles, delta: shipment } = part;
    const posts = new Places<string>();
    const lives = new Places<EntryDelta['incarnation']>();
    const postOf = ({ post }: { readonly post: string }): number => posts.of(post, post);
    const lifeOf = ({ incarnation: replica }: EntryDelta): number => {
      return lives.of(`${replica.region} ${replica.epoch} ${replica.nonce}`, replica);
    };
    const times = new Map<string, number>();
    for (const { post, updatedAtMs } of shipment.posts) times.set(post, Math.max(updatedAtMs, times.get(post) ?? 0));
    entries.forEach(lifeOf);
    // In the order of the shipment, in which entries and toggles are, too.
    const named = new Set([...entries, ...toggles].map(({ post }) => post));
    for (const one of shipment.posts) if (named.has(one.post)) postOf(one);

    const writer = this.#writer;
    this.#header(part);
    for (const { length } of [posts.list, lives.list, entries, toggles, shipment.predecessors])
      writer.writeInteger(length);
    for (const post of posts.list) writer.writeText(post);
    for (const post of posts.list) writer.writeInteger(hashPost(post));
    for (const post of posts.list) writer.writeInteger(times.get(post)!);
    for (const { region, epoch, nonce } of lives.list) {
      writer.writeText(region);
      writer.writeInteger(epoch);
      writer.writeInteger(nonce);
    }
    for (const entry of entries) {
      for (const number of [postOf(entry), entry.metric, lifeOf(entry), entry.p, entry.n]) writer.writeInteger(number);
    }
    for (const toggle of toggles) {
      writer.writeInteger(postOf(toggle));
      writer.writeInteger(toggle.metric);
      writer.writeKey(toggle.actor);
      writer.writeInteger(toggle.stamp);
      writer.writeInteger(toggle.on ? 1 : 0);
      writer.writeInteger(TOGGLE_BASES.indexOf(toggle.basis));
    }
    for (const { epoch, nonce } of shipment.predecessors) {
      writer.writeInteger(epoch);
      writer.writeInteger(nonce);
    }
    return { posts: posts.list, packed: writer.take() };
  }

  #header({ delta: shipment, isLast }: DeltaFragment): void {
    const writer = this.#writer;
    const {
      source,
      startedAtStamp: born,
      after,
      upTo,
      ackedUpTo: confirmed,
      stableStamp: floor,
      fullSyncReceiver: shown,
      posts,
    } = shipment;
    writer.writeText(source.region);
    writer.writeInteger(source.epoch);
    writer.writeInteger(source.nonce);
    writer.writeInteger(born);
    for (const stamp of [after, upTo, confirmed]) writer.writeInteger(isLast ? stamp : 0);
    writer.writeInteger(shown !== null || posts.some(({ members }) => members.length > 0) ? floor : 0);
    writer.writeInteger(isLast && shown !== null ? shown.epoch : 0);
    writer.writeInteger(isLast && shown !== null ? shown.nonce : 0);
    writer.writeInteger(toRegionNumber(source.region));
  }
}
