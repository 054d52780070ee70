import { expect, test } from '@jest/globals';
import { ChangeFeed } from './change-feed.js';
import {
  ChangedPosts,
  feedMax,
  moveSum,
  newChangedPostsState,
  reopenChangedPosts,
  startMembers,
  STARTS_MAX,
  SUM_MODULUS,
} from './changed-posts.js';

const FIRST = { epoch: 1, nonce: 11 };
const SECOND = { epoch: 2, nonce: 22 };

function openRecord(feedMax?: number, entriesPerSeq?: number): ChangedPosts {
  const posts = new ChangedPosts(newChangedPostsState(2, 1), new ChangeFeed(1, feedMax), entriesPerSeq);
  posts.startIncarnation(FIRST);
  return posts;
}

function record(posts: ChangedPosts, post: string): void {
  posts.record(post, [0], [1], 1_000);
}

test('a post that changes all the time stands under one seq until somebody collects', () => {
  const posts = openRecord();
  for (let i = 0; i < 1_000; i++) record(posts, 'a');
  expect(posts.state).toMatchObject({ seq: 2, entriesUnderSeq: 1, sums: [1_000] });
  expect(posts.collect(1, 10, 0)).toEqual({ posts: ['a'], members: [], milestones: [], upTo: 2, isComplete: true });
  expect(posts.collect(2, 10, 0)).toEqual({ posts: [], members: [], milestones: [], upTo: 2, isComplete: true });
  expect(posts.state.seq).toBe(3);
});

test('a copy below the dropped seqs gets no posts, and the seq from which on changes are known', () => {
  const posts = openRecord(4, 2);
  for (const post of ['a', 'b', 'c', 'd', 'e', 'f']) record(posts, post);
  expect(posts.droppedUpTo).toBe(2);
  expect(posts.collect(1, 10, 0)).toEqual({ posts: [], members: [], milestones: [], upTo: 2, isComplete: false });
  expect(posts.collect(2, 10, 0)).toEqual({
    posts: ['c', 'd', 'e', 'f'],
    members: [],
    milestones: [],
    upTo: 4,
    isComplete: true,
  });
});

test('a page has all posts of a seq', () => {
  const posts = openRecord(4, 2);
  for (const post of ['a', 'b', 'c', 'd']) record(posts, post);
  expect(posts.collect(1, 1, 0)).toEqual({
    posts: ['a', 'b'],
    members: [],
    milestones: [],
    upTo: 2,
    isComplete: false,
  });
  expect(posts.collect(2, 1, 0)).toEqual({ posts: ['c', 'd'], members: [], milestones: [], upTo: 3, isComplete: true });
});

test('an incarnation is noted once, with what was recovered, and only the last ones are kept', () => {
  const posts = openRecord();
  record(posts, 'a');
  posts.collect(1, 10, 0);
  posts.startIncarnation(FIRST);
  posts.startIncarnation(SECOND);
  expect(posts.state.starts).toEqual([
    { ...FIRST, startSeq: 2, startMs: 0 },
    { ...SECOND, startSeq: 3, startMs: 1_000 },
  ]);
  for (let epoch = 3; epoch < 20; epoch++) posts.startIncarnation({ epoch, nonce: 0 });
  expect(posts.state.starts).toHaveLength(STARTS_MAX);
  expect(posts.state.starts.at(-1)!.epoch).toBe(19);
});

test('a record that is opened again does not know its posts, and a restored one starts where a copy may have more', () => {
  const posts = openRecord();
  record(posts, 'a');
  // A backup is taken here. Then another post is entered under the same seq, and a copy gets both.
  const backup = { ...posts.state, sums: [...posts.state.sums] };
  record(posts, 'b');
  const { upTo } = posts.collect(1, 10, 0);
  const same = reopenChangedPosts(posts.state, FIRST);
  expect(same).toMatchObject({ droppedUpTo: upTo, state: { seq: upTo + 1, entriesUnderSeq: 0 } });
  expect(same.state.starts).toHaveLength(1);
  const restored = reopenChangedPosts(backup, SECOND);
  expect(restored).toMatchObject({ droppedUpTo: 2, state: { seq: 3, entriesUnderSeq: 0 } });
  // So that the copy, which is at this seq, is seen to have more than the store.
  expect(restored.state.starts.at(-1)).toMatchObject({ ...SECOND, startSeq: upTo });
});

test('sums follow totals up to 2^53 and back', () => {
  expect(moveSum(0, -1)).toBe(SUM_MODULUS - 1);
  expect(moveSum(SUM_MODULUS - 1, 1)).toBe(0);
  const large = Number.MAX_SAFE_INTEGER;
  expect(moveSum(moveSum(17, large), -large)).toBe(17);
});

test('members are entered like posts, once somebody asked for them', () => {
  const posts = openRecord();
  posts.recordMember('a', 0, { hi: 0, lo: 1 });
  expect(posts.collect(1, 10, 0).members).toEqual([]);
  const { state, droppedUpTo } = startMembers(posts.state, FIRST);
  const withMembers = new ChangedPosts(state, new ChangeFeed(droppedUpTo, feedMax(state)));
  record(withMembers, 'a');
  for (const lo of [1, 2, 1]) withMembers.recordMember('a', 0, { hi: 0, lo });
  const changes = withMembers.collect(droppedUpTo, 10, 0);
  expect(changes).toMatchObject({ posts: ['a'], isComplete: true });
  expect(changes.members).toEqual([1, 2].map((lo) => ({ post: 'a', metric: 0, actor: { hi: 0, lo } })));
});

test('a record that starts with members has forgotten what changed until then', () => {
  const posts = openRecord();
  record(posts, 'a');
  const { state, droppedUpTo } = startMembers(posts.state, FIRST);
  expect([state.seq, droppedUpTo, state.entriesUnderSeq]).toEqual([3, 2, 0]);
});

test('an incarnation that starts with members starts at the seq that it recovered', () => {
  const posts = openRecord();
  record(posts, 'a');
  const { state } = startMembers(posts.state, SECOND);
  expect([state.seq, state.starts.at(-1)]).toEqual([3, expect.objectContaining({ ...SECOND, startSeq: 2 })]);
});

test('the post of a member is returned with it, even if it changed again later', () => {
  const { state, droppedUpTo } = startMembers(openRecord().state, FIRST);
  const posts = new ChangedPosts(state, new ChangeFeed(droppedUpTo, feedMax(state)), 1);
  posts.recordMember('a', 0, { hi: 0, lo: 1 });
  record(posts, 'b');
  record(posts, 'a');
  expect(posts.collect(droppedUpTo, 1, 0)).toMatchObject({ posts: ['a'], members: [{ post: 'a' }], isComplete: false });
});
