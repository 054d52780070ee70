import { expect, it } from '@jest/globals';
import type { Member } from '../../src/counters/changed-posts.js';
import { LIKES } from '../../src/counters/metrics.js';
import type { ChangePage, MemberState } from '../../src/store/change-store.js';
import { key, like, postIn, unlike, view } from './operations.js';
import type { StoreUnderTest } from './store-under-test.js';

const WITH_MEMBERS = { limit: 500, withMembers: true };

/** Changes of bucket 0 from a seq on, until a page is complete. */
async function collect({ store }: StoreUnderTest, after: number, options = WITH_MEMBERS): Promise<ChangePage[]> {
  const pages: ChangePage[] = [];
  for (let from = after; ; from = pages.at(-1)!.upTo) {
    const [page] = await store.changeStore.changesSince([{ bucket: 0, after: from }], options);
    pages.push(page!);
    if (page!.isComplete) return pages;
  }
}

/** Starts recording members. @returns the position of a copy that has everything so far */
async function startRecording(under: StoreUnderTest): Promise<number> {
  const [page] = await under.store.changeStore.changesSince([{ bucket: 0, after: 0 }], WITH_MEMBERS);
  return (await collect(under, page!.upTo)).at(-1)!.upTo;
}

function membersOf(pages: readonly ChangePage[]): MemberState[] {
  return pages.flatMap(({ members }) => members);
}

async function readMembers({ store }: StoreUnderTest, posts: readonly string[], limit: number): Promise<Member[]> {
  const members = new Map<string, Member>();
  for (let cursor: string | null = ''; cursor !== null;) {
    const page = await store.changeStore.readMembers(posts, cursor, limit);
    for (const member of page.members) members.set(JSON.stringify(member), member);
    cursor = page.next;
  }
  return [...members.values()];
}

function sortByActor(members: readonly Member[]): Member[] {
  return [...members].sort((a, b) => a.actor.hi - b.actor.hi || a.actor.lo - b.actor.lo);
}

/** Tests of the members that a store records and reads for copies. */
export function changedMembersTests(under: StoreUnderTest): void {
  recordingTests(under);
  boundTests(under);
  readingTests(under);
}

function recordingTests(under: StoreUnderTest): void {
  it('a member that joined or left is returned once, in its newest state', async () => {
    const at = await startRecording(under);
    const post = postIn(0);
    await under.apply([like(post, key(1)), like(post, key(2)), view(post)]);
    await under.apply([unlike(post, key(1))]);
    const pages = await collect(under, at);
    expect(pages.flatMap(({ posts }) => posts)).toHaveLength(1);
    expect(membersOf(pages)).toHaveLength(2);
    expect(membersOf(pages)).toEqual(
      expect.arrayContaining([
        { post, metric: LIKES, actor: key(1), on: false },
        { post, metric: LIKES, actor: key(2), on: true },
      ]),
    );
    expect(membersOf(await collect(under, pages.at(-1)!.upTo))).toEqual([]);
  });

  it('a toggle that was set to the state that it had is not recorded', async () => {
    const post = postIn(0);
    await under.apply([like(post, key(1))]);
    const at = await startRecording(under);
    await under.apply([like(post, key(1)), unlike(post, key(2))]);
    expect(await collect(under, at)).toMatchObject([{ posts: [], members: [] }]);
  });

  it('members are recorded only after somebody asked for them, and a copy without them gets a full sync then', async () => {
    const { changeStore } = under.store;
    const without = { limit: 500, withMembers: false };
    const [first] = await changeStore.changesSince([{ bucket: 0, after: 0 }], without);
    const at = (await collect(under, first!.upTo, without)).at(-1)!.upTo;
    await under.apply([like(postIn(0), key(1))]);
    expect(await collect(under, at, without)).toMatchObject([{ posts: [{ post: postIn(0) }], members: [] }]);
    const [page] = await changeStore.changesSince([{ bucket: 0, after: at }], WITH_MEMBERS);
    expect(page).toMatchObject({ posts: [], members: [], isComplete: false });
    expect(page!.droppedUpTo).toBeGreaterThan(at);
    await under.apply([like(postIn(0), key(2))]);
    // It goes on for all copies.
    expect(membersOf(await collect(under, page!.upTo, without))).toEqual([
      { post: postIn(0), metric: LIKES, actor: key(2), on: true },
    ]);
  });
}

function boundTests(under: StoreUnderTest): void {
  it('the post of a member is in the same page, even if it changed again later', async () => {
    const at = await startRecording(under);
    const [post, other] = [postIn(0), postIn(0, 1)];
    await under.apply([like(post, key(1))]);
    for (let i = 0; i < 1_500; i += 500) {
      await under.apply(Array.from({ length: 500 }, (_, j) => like(other, key(i + j))));
    }
    await under.apply([view(post)]);
    const pages = await collect(under, at, { limit: 100, withMembers: true });
    expect(pages.length).toBeGreaterThan(2);
    for (const { posts, members } of pages) {
      const named = new Set(posts.map((counts) => counts.post));
      expect(named.size).toBe(posts.length);
      for (const member of members) expect(named).toContain(member.post);
    }
  });

  it('a set of many members is recorded whole', async () => {
    const at = await startRecording(under);
    const post = postIn(0);
    const actors = Array.from({ length: 2_400 }, (_, i) => key(i));
    for (let i = 0; i < actors.length; i += 400)
      await under.apply(actors.slice(i, i + 400).map((one) => like(post, one)));
    await under.apply(actors.slice(0, 100).map((one) => unlike(post, one)));
    const pages = await collect(under, at);
    const members = new Map(membersOf(pages).map((member) => [JSON.stringify(member.actor), member.on]));
    expect(members.size).toBe(actors.length);
    expect([...members.values()].filter((on) => !on)).toHaveLength(100);
    expect(Math.max(...pages.map((page) => page.members.length))).toBeLessThanOrEqual(1_000);
  });

  it('a copy that lacks too many members needs a full sync', async () => {
    const at = await startRecording(under);
    const post = postIn(0);
    for (let i = 0; i < 34_000; i += 500) {
      await under.apply(Array.from({ length: 500 }, (_, j) => like(post, key(i + j))));
    }
    const [page] = await under.store.changeStore.changesSince([{ bucket: 0, after: at }], WITH_MEMBERS);
    expect(page!.droppedUpTo).toBeGreaterThan(at);
    const kept = membersOf(await collect(under, page!.droppedUpTo));
    expect(kept.length).toBeGreaterThan(30_000);
    expect(kept.length).toBeLessThanOrEqual(33_268);
  });
}

function readingTests(under: StoreUnderTest): void {
  it('members of several posts are read page by page', async () => {
    const posts = [0, 1, 2].map((bucket) => postIn(bucket));
    const expected: Member[] = [];
    for (const [bucket, post] of posts.entries()) {
      const actors = Array.from({ length: [0, 3, 700][bucket]! }, (_, i) => key(1_000 * bucket + i));
      await under.apply([view(post), ...actors.map((actor) => like(post, actor))].slice(0, 500), bucket);
      await under.apply([view(post), ...actors.map((actor) => like(post, actor))].slice(500), bucket);
      expected.push(...actors.map((actor) => ({ post, metric: LIKES, actor })));
    }
    await under.apply([unlike(posts[2]!, key(2_007))], 2);
    const members = await readMembers(under, posts, 100);
    const left = expected.filter(({ actor }) => actor.lo !== key(2_007).lo);
    // In a defined order, because `arrayContaining` compares each with each.
    expect(sortByActor(members)).toEqual(sortByActor(left));
    expect(await readMembers(under, [], 100)).toEqual([]);
    expect(await readMembers(under, ['unknown'], 100)).toEqual([]);
  });

  it('posts count the members that they have', async () => {
    const post = postIn(0);
    await under.apply([like(post, key(1)), like(post, key(2)), view(post)]);
    const { counts } = await under.view(post);
    expect(await under.store.changeStore.checkMembers([post, 'unknown'], true)).toEqual([]);
    expect((await under.view(post)).counts).toEqual(counts);
  });
}
