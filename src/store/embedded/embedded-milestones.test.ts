import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { BUCKETS, key, like, METRICS, postIn, Producer, START_MS, view } from '../../../test/contract/operations.js';
import { ReferenceStore } from '../../../test/contract/reference-store.js';
import { LIKES, VIEWS } from '../../counters/metrics.js';
import { APPLIED, REACHED } from '../../counters/operation.js';
import type { MilestoneNews } from '../milestone-store.js';
import { DataDirectory } from './disk/data-directory.js';
import type { LmdbTables } from './disk/lmdb-environment.js';
import { END_OF_KEYS } from './disk/lmdb-table.js';
import { decodePost, encodePost } from './disk/post-record.js';
import { ByteWriter } from './disk/record-bytes.js';
import { EmbeddedStore } from './embedded-store.js';

const POST = postIn(0);
const OTHER = postIn(0, 1);
const DAMAGED = postIn(0, 2);
const NOBODY = { actor: null, session: null, seq: 0, value: 0, missed: true };
/** This many posts fill both halves of the cache, and evict all others. */
const MANY = Array.from({ length: 40_000 }, (_, i) => `other-${i}`);
/** More than a record of a post holds. */
const ACTORS = 40;

let path: string;
let producer: Producer;
const options = { buckets: BUCKETS, actorKeys: 'hash' as const, region: 'local', nonce: () => 1 };

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'tallycast-embedded-'));
  producer = new Producer('producer-one');
});
afterEach(() => rmSync(path, { recursive: true }));

function openStore(): EmbeddedStore {
  return new EmbeddedStore({ ...options, path, metrics: METRICS });
}

/** Changes values on disk. */
async function edit(change: (tables: LmdbTables, directory: DataDirectory) => void): Promise<void> {
  const directory = DataDirectory.open({ ...options, path, metrics: METRICS.toString() });
  await directory.commit(() => change(directory.tables, directory));
  await directory.close();
}

async function readKeys(): Promise<string[]> {
  let keys: string[] = [];
  await edit(({ milestones }) => (keys = milestones.keys('', END_OF_KEYS, 100)));
  return keys;
}

function watchNews(store: EmbeddedStore): MilestoneNews[] {
  const news: MilestoneNews[] = [];
  for (const post of [POST, OTHER]) store.watch(post);
  store.milestones.reached.subscribe((more) => news.push(...more));
  return news;
}

describe('a write of the same group commit that fails', () => {
  it('milestones of writes that run again are reached once', async () => {
    const before = openStore();
    await before.commit(new Producer('producer-old').batch(0, [view(DAMAGED)]));
    await before.close();
    await edit(({ posts }) => posts.put(DAMAGED, Buffer.from([255])));
    const store = openStore();
    const news = watchNews(store);
    const [armed, crossed, failed, after] = await Promise.allSettled([
      store.milestones.arm(POST, VIEWS, 3),
      store.commit(producer.batch(0, [view(POST, 3), view(OTHER)])),
      store.commit(new Producer('producer-two').batch(0, [view(POST), view(DAMAGED)])),
      store.milestones.arm(OTHER, VIEWS, 2),
    ]);
    expect([armed, crossed, failed.status, after]).toMatchObject([
      { value: { kind: 'armed', armed: [3] } },
      { value: { outcomes: new Uint8Array([APPLIED | REACHED, APPLIED]) } },
      'rejected',
      { value: { kind: 'armed', armed: [2] } },
    ]);
    expect(news).toEqual([{ post: POST, metric: VIEWS, n: 3, v: 1, atMs: START_MS }]);
    expect((await store.milestones.read(POST, VIEWS)).reached).toMatchObject([{ n: 3, total: 3, final: true }]);
    expect(await store.commit(producer.batch(0, [view(OTHER)]))).toMatchObject({
      outcomes: new Uint8Array([APPLIED | REACHED]),
    });
    await store.close();
  });

  it.each([
    ['is no JSON', '['],
    ['is no list', '{"armed":[],"reached":[]}'],
    ['has thresholds that are no numbers', '[null,{"armed":["5"],"reached":[]}]'],
    ['has thresholds out of order', '[null,{"armed":[9,5],"reached":[]}]'],
    ['lacks the records', '[null,{"armed":[5]}]'],
  ])('a value that %s fails alone, and is not overwritten', async (_, text) => {
    const before = openStore();
    await before.milestones.arm(POST, VIEWS, 5);
    await before.milestones.arm(OTHER, VIEWS, 2);
    await before.close();
    await edit(({ milestones }) => milestones.put(`post ${POST}`, Buffer.from(text)));
    const store = openStore();
    const results = await Promise.allSettled([
      store.commit(new Producer('producer-two').batch(0, [view(POST, 7)])),
      store.milestones.arm(POST, VIEWS, 6),
      store.milestones.disarm(POST, VIEWS, 5),
      store.milestones.read(POST, VIEWS),
      store.commit(producer.batch(0, [view(OTHER, 2)])),
    ]);
    expect(results.map(({ status }) => status)).toEqual([...Array<string>(4).fill('rejected'), 'fulfilled']);
    expect((await store.milestones.read(OTHER, VIEWS)).reached).toMatchObject([{ n: 2 }]);
    expect((await store.read([POST], null))[0]!.counts.v).toBe(0);
    await store.close();
  });
});

describe('the table of milestones', () => {
  it('a post has a value only while it has milestones', async () => {
    const store = openStore();
    await store.milestones.arm(POST, VIEWS, 3);
    await store.milestones.arm(POST, LIKES, 2);
    await store.milestones.arm(OTHER, VIEWS, 1);
    for (const [metric, n] of [
      [VIEWS, 3],
      [LIKES, 2],
    ] as const)
      await store.milestones.disarm(POST, metric, n);
    await store.commit(producer.batch(0, [view(OTHER)]));
    await store.close();
    expect((await readKeys()).filter((of) => of.startsWith('post '))).toEqual([`post ${OTHER}`]);
  });

  it('milestones of posts that left the memory are read from disk', async () => {
    const store = openStore();
    await store.milestones.arm(POST, VIEWS, 2);
    await store.commit(producer.batch(0, [view(POST)]));
    await store.read(MANY, null);
    await store.read(
      MANY.map((post) => `${post}-2`),
      null,
    );
    expect(await store.commit(producer.batch(0, [view(POST)]))).toMatchObject({
      outcomes: new Uint8Array([APPLIED | REACHED]),
    });
    await store.read(MANY, null);
    await store.read(
      MANY.map((post) => `${post}-2`),
      null,
    );
    expect((await store.milestones.read(POST, VIEWS)).reached).toMatchObject([{ n: 2 }]);
    await store.close();
  });
});

describe('a total on disk that passes a milestone by no operation', () => {
  it('a repair of members leaves a record without an actor', async () => {
    const before = openStore();
    const likes = Array.from({ length: ACTORS }, (_, i) => like(POST, key(i)));
    await before.commit(producer.batch(0, likes));
    await before.close();
    await edit(({ posts }, { incarnations }) => {
      const record = decodePost(posts.get(POST)!, incarnations);
      record.state.metrics[LIKES]!.members = ACTORS - 5;
      posts.put(POST, encodePost(record, incarnations, new ByteWriter()).value());
    });
    const store = openStore();
    const news = watchNews(store);
    for (const n of [ACTORS - 2, ACTORS + 1]) await store.milestones.arm(POST, LIKES, n);
    expect(await store.changeStore.checkMembers([POST], true)).toHaveLength(1);
    const views = await store.milestones.read(POST, LIKES);
    expect(views).toMatchObject({ armed: [ACTORS + 1], reached: [{ n: ACTORS - 2, ...NOBODY, total: ACTORS, v: 2 }] });
    expect(news).toMatchObject([{ n: ACTORS - 2, v: 2 }]);
    await store.close();
  });

  it('a merge leaves a record without an actor, which outlasts the process', async () => {
    const open = (): EmbeddedStore =>
      new EmbeddedStore({ ...options, path, metrics: METRICS, replication: { wallMs: () => START_MS, peers: ['us'] } });
    const store = open();
    await store.milestones.arm(POST, VIEWS, 10);
    await store.milestones.arm(POST, LIKES, 1);
    await store.commit(producer.batch(0, [view(POST, 9)]));
    const other = new ReferenceStore(METRICS, BUCKETS, { region: 'us', epoch: 1, nonce: 1 }, () => 1);
    await other.commit(new Producer('producer-two').batch(0, [view(POST, 5), like(POST, key(1))]));
    await store.replication!.merge(await other.readPosts([POST]));
    await store.close();
    const next = open();
    const read = async (metric: number) => (await next.milestones.read(POST, metric)).reached;
    expect(await read(VIEWS)).toMatchObject([{ n: 10, ...NOBODY, total: 14, v: 2 }]);
    expect(await read(LIKES)).toMatchObject([{ n: 1, ...NOBODY, total: 1, v: 2 }]);
    await next.close();
  });
});
