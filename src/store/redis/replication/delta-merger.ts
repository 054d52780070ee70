import type { Clock } from '../../../common/clock.js';
import { sleep } from '../../../common/sleep.js';
import type { PostCounts } from '../../../counters/batch.js';
import { formatEpoch } from '../../../counters/bucket.js';
import type { Key64 } from '../../../counters/ids.js';
import type { Metrics } from '../../../counters/metrics.js';
import {
  type Delta,
  type DeltaAck,
  type EntryDelta,
  type PostDelta,
  type RemoteToggle,
  subsetOf,
} from '../../../counters/replication/delta.js';
import { DeltaEncoder, type DeltaFragment, type IncomingToggle } from '../codec/delta-encoder.js';
import { MsgpackReader } from '../codec/msgpack-reader.js';
import type { MemberReader, StampedMembers } from './member-reader.js';
import { CALL_CHANGES_MAX, type ReplicationScripts } from './replication-scripts.js';

/** How often a fragment is merged whose outcome is unknown. To merge it twice does no harm; after the last failure the peer resends all. */
const ATTEMPTS = 5;
const PAUSE_MS = 100;

export interface DeltaMergerOptions {
  readonly region: string;
  readonly metrics: Metrics;
}

export interface MergeEvents {
  changed(counts: readonly PostCounts[]): void;
  toggled(toggles: readonly RemoteToggle[]): void;
  /** A post of the bucket is due to be published in this many ms. */
  publishDue(bucket: number, publishInMs: number): void;
}

/** Changes of one or more posts. */
interface Changes {
  readonly entries: (EntryDelta & { readonly post: string })[];
  readonly toggles: IncomingToggle[];
  readonly homes: DeltaFragment['homes'][number][];
}

interface MergeReply {
  readonly ack: DeltaAck;
  /** That of this region. */
  readonly stableStamp: number;
}

/** Merges deltas, large ones in fragments: each stays merged whatever follows, but only the last one moves the version vector. */
export class DeltaMerger {
  readonly #encoder = new DeltaEncoder();

  constructor(
    private readonly scripts: ReplicationScripts,
    private readonly members: MemberReader,
    private readonly clock: Clock,
    private readonly options: DeltaMergerOptions,
    private readonly events: MergeEvents,
  ) {}

  async merge(delta: Delta): Promise<DeltaAck> {
    const changes = groupByPost(delta);
    if (delta.posts.some(({ members }) => members.length > 0)) {
      // First the clock receives their stable stamp: toggles from then on, while members are read, have later stamps.
      const { ack, stableStamp } = await this.#mergeFragment({ delta, ...newChanges(), isLast: false });
      if (ack.incarnationRejected) return ack;
      if (delta.stableStamp > (delta.kind === 'repair' ? delta.after - 1 : stableStamp)) {
        for (const toggle of await this.#diffMembers(delta, stableStamp))
          changes.get(toggle.post)!.toggles.push(toggle);
      }
    }
    const fragments = splitChanges(changes.values());
    for (const [i, fragment] of fragments.entries()) {
      const isLast = i === fragments.length - 1;
      const { ack } = await this.#mergeFragment({ delta, ...fragment, isLast });
      if (isLast || ack.incarnationRejected) return ack;
    }
    throw new Error('a delta has at least one fragment');
  }

  /** Toggles that are not as the members of the delta are. */
  async #diffMembers(delta: Delta, stableStamp: number): Promise<IncomingToggle[]> {
    const { bucket, kind } = delta;
    const posts = delta.posts.filter(({ members }) => members.length > 0);
    const names = [...new Set(posts.map(({ post }) => post))];
    const own = await this.members.readMembers(bucket, async () => {
      return (await this.scripts.readPosts(bucket, names)).records;
    });
    const { otherOptions } = this.options.metrics;
    return posts.flatMap((post) =>
      kind === 'repair'
        ? findMissing(post, own, delta, { stableStamp, otherOptions })
        : findDifferent(post, own, delta),
    );
  }

  async #mergeFragment(fragment: DeltaFragment): Promise<MergeReply> {
    const { delta } = fragment;
    const { posts, packed } = this.#encoder.encode(fragment);
    for (let attempt = 1; ; attempt++) {
      try {
        const reply = await this.scripts.merge(delta.bucket, packed, countChanges(fragment));
        return this.#processReply(fragment, posts, reply);
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
      }
      await sleep(this.clock, PAUSE_MS);
    }
  }

  #processReply({ delta: { bucket }, toggles }: DeltaFragment, posts: readonly string[], reply: Buffer): MergeReply {
    const values = new MsgpackReader(reply);
    const incarnationRejected = values.readInteger() === 1;
    const seen = { epoch: values.readInteger(), nonce: values.readInteger(), upTo: values.readInteger() };
    const receiver = { epoch: values.readInteger(), nonce: values.readInteger() };
    const backfilling = values.readInteger() === 1;
    const fullySynced = values.readInteger() === 1;
    const ack = { bucket, ...seen, incarnationRejected, receiver, backfilling, fullySynced };
    const stableStamp = values.readInteger();
    if (incarnationRejected) return { ack, stableStamp };
    const due = values.readInteger();
    if (due > 0) this.events.publishDue(bucket, due - 1);
    const { region, metrics } = this.options;
    const e = formatEpoch({ region, ...receiver });
    const changed = readList(values, (): PostCounts => {
      const post = posts[values.readInteger() - 1]!;
      const [v, updatedAtMs, live] = [values.readInteger(), values.readInteger(), values.readInteger()];
      return { post, e, v, updatedAtMs, live, totals: metrics.list.map(() => values.readInteger()) };
    });
    const toggled = readList(values, (): RemoteToggle => {
      const { post, metric, actor } = toggles[values.readInteger() - 1]!;
      return { post, metric, actor, on: values.readInteger() === 1 };
    });
    if (changed.length > 0) this.events.changed(changed);
    if (toggled.length > 0) this.events.toggled(toggled);
    return { ack, stableStamp };
  }
}

function newChanges(): Changes {
  return { entries: [], toggles: [], homes: [] };
}

/** A home weighs as much as its records. */
function countChanges({ entries, toggles, homes }: Pick<DeltaFragment, 'entries' | 'toggles' | 'homes'>): number {
  return homes.reduce((sum, { reached }) => sum + 1 + reached.length, entries.length + toggles.length);
}

/** A delta's changes by post, in the order of its posts, of which one may come several times. */
function groupByPost({ posts }: Delta): Map<string, Changes> {
  const changes = new Map<string, Changes>();
  for (const { post, entries, registers, homes = [] } of posts) {
    const ofPost = changes.get(post) ?? newChanges();
    changes.set(post, ofPost);
    for (const entry of entries) ofPost.entries.push({ ...entry, post });
    for (const register of registers) ofPost.toggles.push({ ...register, post, basis: 'register' });
    for (const home of homes) ofPost.homes.push({ ...home, post });
  }
  return changes;
}

/** At least one fragment; a post is in several only where it is too much for one call. Its homes are in the last one, after its counts. */
function splitChanges(posts: Iterable<Changes>): Changes[] {
  const fragments: Changes[] = [newChanges()];
  const room = (): number => CALL_CHANGES_MAX - countChanges(fragments.at(-1)!);
  for (const { entries, toggles, homes } of posts) {
    if (entries.length + toggles.length > room()) fragments.push(newChanges());
    fragments.at(-1)!.entries.push(...entries);
    for (const toggle of toggles) {
      if (room() <= 0) fragments.push(newChanges());
      fragments.at(-1)!.toggles.push(toggle);
    }
    for (const home of homes) {
      if (room() <= 0) fragments.push(newChanges());
      fragments.at(-1)!.homes.push(home);
    }
  }
  return fragments;
}

/** If the regions have two options of a choice for an actor, both keep the first one. */
function findMissing(
  { post, members }: PostDelta,
  own: StampedMembers,
  { after: stamp }: Delta,
  { stableStamp, otherOptions }: { stableStamp: number; otherOptions: Metrics['otherOptions'] },
): IncomingToggle[] {
  /** By metric and actor: the stamp of its register. */
  const present = new Map<string, number>();
  const name = (metric: number, actor: Key64): string => `${metric} ${actorText(actor)}`;
  for (const metric of otherOptions.keys())
    for (const { actor, stamp: ownStamp } of own.get(`${post} ${metric}`) ?? [])
      present.set(name(metric, actor), ownStamp);
  const found: IncomingToggle[] = [];
  for (const { metric, actors } of members) {
    for (const actor of actors) {
      const others = otherOptions[metric]!.filter((other) => present.has(name(other, actor)));
      const isLater = others.some((other) => other < metric || present.get(name(other, actor))! > stableStamp);
      if (present.has(name(metric, actor)) || isLater) continue;
      const toggle = { post, actor, stamp, basis: 'repair' } as const;
      for (const other of others) found.push({ ...toggle, metric: other, on: false });
      found.push({ ...toggle, metric, on: true });
      present.set(name(metric, actor), 0);
    }
  }
  return found;
}

function findDifferent(
  { post, members, registers }: PostDelta,
  own: StampedMembers,
  { stableStamp }: Delta,
): IncomingToggle[] {
  const found: IncomingToggle[] = [];
  for (const { metric, subset, subsets, actors } of members) {
    const ownMembers = own.get(`${post} ${metric}`) ?? [];
    const present = new Set(ownMembers.map(({ actor }) => actorText(actor)));
    const sent = new Set(actors.map(actorText));
    for (const register of registers) if (register.metric === metric) sent.add(actorText(register.actor));
    const toggle = { post, metric, stamp: stableStamp, basis: 'members' } as const;
    for (const { actor, stamp } of ownMembers) {
      if (subsetOf(actor, subsets) !== subset || stamp >= stableStamp || sent.has(actorText(actor))) continue;
      found.push({ ...toggle, actor, on: false });
    }
    for (const actor of actors) if (!present.has(actorText(actor))) found.push({ ...toggle, actor, on: true });
  }
  return found;
}

function actorText({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}

function readList<T>(values: MsgpackReader, readItem: () => T): T[] {
  return Array.from({ length: values.readInteger() }, readItem);
}
