import type { Key64 } from '../../src/counters/ids.js';
import type { PostDelta, Delta, HomeDelta } from '../../src/counters/replication/delta.js';
import { firstStampAt } from '../../src/counters/replication/hybrid-clock.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import type { Random } from '../support/random.js';

/** A delta with sorted lists where their order is not defined, and without empty posts. */
export function normalizeDelta({ posts, ...about }: Delta): object {
  return { ...about, posts: normalizePosts(posts) };
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
export function normalizeFullSync(pages: readonly Delta[]): object {
  const buckets = new Map<number, { about: object; posts: PostDelta[] }>();
  for (const { posts, ...about } of pages) {
    const bucket = buckets.get(about.bucket) ?? { about, posts: [] };
    buckets.set(about.bucket, bucket);
    bucket.posts.push(...posts);
  }
  const plain = [...buckets].map(
    ([bucket, { about, posts }]) => [bucket, { ...about, posts: normalizePosts(posts) }] as const,
  );
  return Object.fromEntries(plain.filter(([, { posts }]) => Object.keys(posts).length > 0));
}

/** Everything in the deltas about each post, by its id. */
export function normalizePosts(posts: readonly PostDelta[]): Record<string, object> {
  const byPost = new Map<string, { updatedAtMs: number; things: Set<string> }>();
  for (const { post, updatedAtMs, entries, registers, members, homes = [] } of posts) {
    const known = byPost.get(post) ?? { updatedAtMs, things: new Set<string>() };
    byPost.set(post, known);
    const add = (...thing: unknown[]): void => void known.things.add(JSON.stringify(thing));
    for (const entry of entries) add('entry', entry.metric, entry.incarnation, entry.p, entry.n);
    for (const { metric, actor, stamp, on } of registers) add('register', metric, toText(actor), stamp, on);
    for (const { metric, actors } of members) for (const actor of actors) add('member', metric, toText(actor));
    for (const home of homes) addHome(home, add);
  }
  const plain = [...byPost].filter(([, { things }]) => things.size > 0);
  return Object.fromEntries(plain.map(([post, { things }]) => [`post ${post}`, [...things].sort()]));
}

function addHome({ metric, home, confirmations, reached }: HomeDelta, add: (...thing: unknown[]) => void): void {
  add('home', metric, home?.region, home?.number, home?.mode);
  for (const { region, epoch, nonce, home: about, stamp } of confirmations)
    add('confirmation', metric, region, epoch, nonce, about.region, about.number, about.mode, stamp);
  for (const { n, actor, session, seq, kind, value, total, v, region, epoch, missed, isFinal, atMs } of reached) {
    const keys = [actor && toText(actor), session && toText(session)];
    add('record', metric, n, ...keys, seq, kind, value, total, v, region, epoch, missed, isFinal === true, atMs);
  }
}

function toText({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}

/** Turns a full sync into a repair: its posts are idle, and mostly stable, so that they have no registers. */
export function asRepair(delta: Delta, random: Random): Delta {
  const { updatedAtMs } = delta.posts.length > 0 ? random.pick(delta.posts) : { updatedAtMs: 0 };
  const since = firstStampAt(updatedAtMs + 1);
  const isStable = random.chance(0.8);
  const stableStamp = isStable ? Math.max(since, delta.stableStamp) : delta.stableStamp;
  const posts = isStable ? delta.posts.map(withoutRegisters) : delta.posts;
  return { ...delta, kind: 'repair', after: since, upTo: since, stableStamp, posts };
}

function withoutRegisters(post: PostDelta): PostDelta {
  const on = post.registers.filter((register) => register.on);
  const members = on.map(({ metric, actor }) => ({ metric, subset: 0, subsets: 1, actors: [actor] }));
  return { ...post, registers: [], members: [...post.members, ...members] };
}
