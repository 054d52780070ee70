import type { Key64 } from '../../../counters/ids.js';
import type { RegionIncarnation } from '../../../counters/pn-counter.js';
import type { Delta, EntryDelta, HomeDelta } from '../../../counters/replication/delta.js';
import { toRegionNumber } from '../../../counters/replication/hybrid-clock.js';
import { hashPost } from './batch-encoder.js';
import { writeHome } from './homes-codec.js';
import { MsgpackWriter } from './msgpack-writer.js';

/** Where a toggle's state comes from: a register of the delta, or its members. The index is what the script is sent. */
export const TOGGLE_BASES = ['register', 'members', 'repair'] as const;
/** Values of a fragment before the names of its posts. */
export const FRAGMENT_HEADER_VALUES = 17;

/** A toggle of a delta: of one of its registers, or one whose members differ here. */
export interface IncomingToggle {
  readonly post: string;
  readonly metric: number;
  readonly actor: Key64;
  readonly stamp: number;
  readonly on: boolean;
  readonly basis: (typeof TOGGLE_BASES)[number];
}

/** The part of a delta that one call merges. */
export interface DeltaFragment {
  readonly delta: Delta;
  readonly entries: readonly (EntryDelta & { readonly post: string })[];
  readonly toggles: readonly IncomingToggle[];
  readonly homes: readonly (HomeDelta & { readonly post: string })[];
  /** Only the last fragment moves the source's entry of the version vector: then all others are merged. */
  readonly isLast: boolean;
}

/** Numbers named things from 1, each name once. */
class Numbering<T> {
  readonly list: T[] = [];
  readonly #indices = new Map<string, number>();

  indexOf(name: string, thing: T): number {
    let index = this.#indices.get(name);
    if (index === undefined) this.#indices.set(name, (index = this.list.push(thing)));
    return index;
  }
}

/** Encodes delta fragments for scripts/merge-deltas-n.lua. */
export class DeltaEncoder {
  readonly #writer = new MsgpackWriter();

  /** @returns the fragment's posts, each once, and its bytes */
  encode(fragment: DeltaFragment): { posts: readonly string[]; packed: Buffer } {
    const { entries, toggles, homes, delta } = fragment;
    const posts = new Numbering<string>();
    const incarnations = new Numbering<RegionIncarnation>();
    const indexOfPost = ({ post }: { readonly post: string }): number => posts.indexOf(post, post);
    const indexOfIncarnation = ({ incarnation }: EntryDelta): number => {
      return incarnations.indexOf(`${incarnation.region} ${incarnation.epoch} ${incarnation.nonce}`, incarnation);
    };
    const times = new Map<string, number>();
    for (const { post, updatedAtMs } of delta.posts) times.set(post, Math.max(updatedAtMs, times.get(post) ?? 0));
    entries.forEach(indexOfIncarnation);
    // In the order of the delta, which entries and toggles have, too.
    const named = new Set([...entries, ...toggles, ...homes].map(({ post }) => post));
    for (const post of delta.posts) if (named.has(post.post)) indexOfPost(post);

    const writer = this.#writer;
    this.#writeHeader(fragment);
    const lists = [posts.list, incarnations.list, entries, toggles, delta.predecessors, homes];
    for (const { length } of lists) writer.writeInteger(length);
    for (const post of posts.list) writer.writeText(post);
    for (const post of posts.list) writer.writeInteger(hashPost(post));
    for (const post of posts.list) writer.writeInteger(times.get(post)!);
    for (const { region, epoch, nonce } of incarnations.list) {
      writer.writeText(region);
      writer.writeInteger(epoch);
      writer.writeInteger(nonce);
    }
    for (const entry of entries) {
      const { metric, p, n } = entry;
      for (const number of [indexOfPost(entry), metric, indexOfIncarnation(entry), p, n]) writer.writeInteger(number);
    }
    for (const toggle of toggles) {
      writer.writeInteger(indexOfPost(toggle));
      writer.writeInteger(toggle.metric);
      writer.writeKey(toggle.actor);
      writer.writeInteger(toggle.stamp);
      writer.writeInteger(toggle.on ? 1 : 0);
      writer.writeInteger(TOGGLE_BASES.indexOf(toggle.basis));
    }
    for (const { epoch, nonce } of delta.predecessors) {
      writer.writeInteger(epoch);
      writer.writeInteger(nonce);
    }
    for (const home of homes) writeHome(writer, indexOfPost(home), home);
    return { posts: posts.list, packed: writer.take() };
  }

  #writeHeader({ delta, isLast }: DeltaFragment): void {
    const writer = this.#writer;
    const { source, after, upTo, ackedUpTo, fullSyncReceiver: receiver, posts } = delta;
    const hasMembers = posts.some(({ members }) => members.length > 0);
    writer.writeText(source.region);
    writer.writeInteger(source.epoch);
    writer.writeInteger(source.nonce);
    writer.writeInteger(delta.startedAtStamp);
    for (const stamp of [after, upTo, ackedUpTo]) writer.writeInteger(isLast ? stamp : 0);
    writer.writeInteger(receiver !== null || hasMembers ? delta.stableStamp : 0);
    writer.writeInteger(isLast && receiver !== null ? receiver.epoch : 0);
    writer.writeInteger(isLast && receiver !== null ? receiver.nonce : 0);
    writer.writeInteger(toRegionNumber(source.region));
  }
}
