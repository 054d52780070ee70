import type { Key64 } from '../../src/counters/ids.js';
import type { PostDelta, Delta } from '../../src/counters/replication/delta.js';
import { firstStampAt } from '../../src/counters/replication/hybrid-clock.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import type { Random } from '../support/random.js';

/** A delta with sorted lists where their order is not defined, and without empty posts. */
export function plainDelta({ posts, ...about }: Delta): object {
  return { ...about, posts: plainPosts(posts) };
}

/** All pages of a full sync. */
export async function readAllPages(
  store: ReplicatedStore,
  buckets: ReadonlySet<number>,
  limit: number,
): Promise<Delta[]> {
  const all: Delta[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: Awaited<ReturnType<ReplicatedStore['fullSyncPage']>> = await store.fullSyncPage(buckets, cursor, limit);
    all.push(...page.deltas);
    cursor = page.next;
  }
  return all;
}

/** The pages of a full sync merged into one object, by bucket. */
export function plainFullSync(pages: readonly Delta[]): object {
  const buckets = new Map<number, { about: object; posts: PostDelta[] }>();
  for (const { posts, ...about } of pages) {
    const bucket = buckets.get(about.bucket) ?? { about, posts: [] };
    buckets.set(about.bucket, bucket);
    bucket.posts.push(...posts);
  }
  const told = [...buckets].map(
    ([bucket, { about, posts }]) => [bucket, { ...about, posts: plainPosts(posts) }] as const,
  );
  return Object.fromEntries(told.filter(([, { posts }]) => Object.keys(posts).length > 0));
}

/** Everything in the deltas about each post, by its id. */
export function plainPosts(posts: readonly PostDelta[]): Record<string, object> {
  const said = new Map<string, { updatedAtMs: number; things: Set<string> }>();
  for (const { post, updatedAtMs, entries, registers, members } of posts) {
    const known = said.get(post) ?? { updatedAtMs, things: new Set<string>() };
    said.set(post, known);
    const add = (...thing: unknown[]): void => void known.things.add(JSON.stringify(thing));
    for (const entry of entries) add('entry', entry.metric, entry.incarnation, entry.p, entry.n);
    for (const { metric, actor, stamp, on } of registers) add('register', metric, textOf(actor), stamp, on);
    for (const { metric, actors } of members) for (const actor of actors) add('member', metric, textOf(actor));
  }
  const told = [...said].filter(([, { things }]) => things.size > 0);
  return Object.fromEntries(told.map(([post, { things }]) => [`post ${post}`, [...things].sort()]));
}

function textOf({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}

/** Turns a full sync into a repair: its posts are idle, and mostly stable, so that they have no registers. */
export function asRepair(shipment: Delta, random: Random): Delta {
  const { updatedAtMs } = shipment.posts.length > 0 ? random.pick(shipment.posts) : { updatedAtMs: 0 };
  const since = firstStampAt(updatedAtMs + 1);
  const isHeard = random.chance(0.8);
  const floor = isHeard ? Math.max(since, shipment.stableStamp) : shipment.stableStamp;
  const posts = isHeard ? shipment.posts.map(withoutRegisters) : shipment.posts;
  return { ...shipment, kind: 'repair', after: since, upTo: since, stableStamp: floor, posts };
}

function withoutRegisters(post: PostDelta): PostDelta {
  const on = post.registers.filter((register) => register.on);
  const members = on.map(({ metric, actor }) => ({ metric, subset: 0, subsets: 1, actors: [actor] }));
  return { ...post, registers: [], members: [...post.members, ...members] };
}
