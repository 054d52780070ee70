import type { Key64 } from '../../../counters/ids.js';
import type { EntryShipment, Shipment } from '../../../counters/replication/delta.js';
import { regionNumber } from '../../../counters/replication/hybrid-clock.js';
import { hashOfPost } from './batch-encoder.js';
import { MsgpackWriter } from './msgpack-writer.js';

/** How a toggle is known, in the script's order. */
const KNOWN = ['of a register', 'of members', 'of quiet members'] as const;

/** A toggle that a shipment speaks of: by a register, or as one whose members differ here. */
export interface ToldToggle {
  readonly post: string;
  readonly metric: number;
  readonly actor: Key64;
  readonly stamp: number;
  readonly on: boolean;
  readonly known: (typeof KNOWN)[number];
}

/** What one call merges of a shipment. */
export interface ShipmentPart {
  readonly shipment: Shipment;
  readonly entries: readonly (EntryShipment & { readonly post: string })[];
  readonly toggles: readonly ToldToggle[];
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

/** Writes parts of shipments as scripts/merge-shipments-n.lua is given them. */
export class DeltaEncoder {
  readonly #writer = new MsgpackWriter();

  /** @returns the part's posts, each once, and its bytes */
  pack(part: ShipmentPart): { posts: readonly string[]; packed: Buffer } {
    const { entries, toggles, shipment } = part;
    const posts = new Places<string>();
    const lives = new Places<EntryShipment['replica']>();
    const postOf = ({ post }: { readonly post: string }): number => posts.of(post, post);
    const lifeOf = ({ replica }: EntryShipment): number => {
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
    for (const { length } of [posts.list, lives.list, entries, toggles, shipment.goesOn]) writer.integer(length);
    for (const post of posts.list) writer.text(post);
    for (const post of posts.list) writer.integer(hashOfPost(post));
    for (const post of posts.list) writer.integer(times.get(post)!);
    for (const { region, epoch, nonce } of lives.list) {
      writer.text(region);
      writer.integer(epoch);
      writer.integer(nonce);
    }
    for (const entry of entries) {
      for (const number of [postOf(entry), entry.metric, lifeOf(entry), entry.p, entry.n]) writer.integer(number);
    }
    for (const toggle of toggles) {
      writer.integer(postOf(toggle));
      writer.integer(toggle.metric);
      writer.key(toggle.actor);
      writer.integer(toggle.stamp);
      writer.integer(toggle.on ? 1 : 0);
      writer.integer(KNOWN.indexOf(toggle.known));
    }
    for (const { epoch, nonce } of shipment.goesOn) {
      writer.integer(epoch);
      writer.integer(nonce);
    }
    return { posts: posts.list, packed: writer.take() };
  }

  #header({ shipment, isLast }: ShipmentPart): void {
    const writer = this.#writer;
    const { source, born, after, upTo, confirmed, floor, shown, posts } = shipment;
    writer.text(source.region);
    writer.integer(source.epoch);
    writer.integer(source.nonce);
    writer.integer(born);
    for (const stamp of [after, upTo, confirmed]) writer.integer(isLast ? stamp : 0);
    writer.integer(shown !== null || posts.some(({ members }) => members.length > 0) ? floor : 0);
    writer.integer(isLast && shown !== null ? shown.epoch : 0);
    writer.integer(isLast && shown !== null ? shown.nonce : 0);
    writer.integer(regionNumber(source.region));
  }
}
