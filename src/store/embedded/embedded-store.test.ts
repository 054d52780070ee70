import { cpSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { open } from 'lmdb';
import { BUCKETS, key, Producer, like, METRICS, postIn, START_MS, view } from '../../../test/contract/operations.js';
import { MARK_GENERATION_MS } from '../../counters/bucket.js';
import { LIKES } from '../../counters/metrics.js';
import { DUPLICATE, ON, type Operation } from '../../counters/operation.js';
import { EmbeddedStore } from './embedded-store.js';
import { KEY64_BYTES } from './disk/sorted-key-array.js';

const MARKS = 5_000;

let path: string;

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'tallycast-embedded-'));
});
afterEach(() => rmSync(path, { recursive: true }));

function openStore(): EmbeddedStore {
  return new EmbeddedStore({
    path,
    buckets: BUCKETS,
    actorKeys: 'hash',
    metrics: METRICS,
    region: 'local',
    nonce: () => 1,
  });
}

function marked(bucket: number, from: number, count: number): Operation[] {
  return Array.from({ length: count }, (_, i) => view(postIn(bucket), 1, { session: key(from + i), seq: 1 }));
}

async function marksOnDisk(): Promise<number> {
  const root = open({ path: join(path, 'counters.mdb'), noSubdir: true, overlappingSync: false });
  const marks = root.openDB<Buffer, Buffer>({ name: 'marks', encoding: 'binary', keyEncoding: 'binary' });
  let bytes = 0;
  for (const { value } of marks.getRange({ start: Buffer.from([0]) })) bytes += value.length;
  await root.close();
  return bytes / KEY64_BYTES;
}

describe('expired session marks', () => {
  it('expired session marks of every bucket are removed, a few with each commit, as new marks come', async () => {
    const store = openStore();
    const producer = new Producer('life-one');
    for (const bucket of [0, 1]) await store.commit(producer.batch(bucket, marked(bucket, 0, MARKS)));
    for (const generation of [1, 2]) {
      const atMs = START_MS + generation * MARK_GENERATION_MS;
      for (const bucket of [0, 1]) await store.commit(producer.batch(bucket, [], atMs));
    }
    for (let i = 0; i < 20; i++) await store.commit(producer.batch(0, marked(0, MARKS + i, 1), atTheEnd()));
    await store.close();
    // The newest marks are in the value of their bucket.
    expect(await marksOnDisk()).toBe(0);
  });

  it('expired session marks of an earlier process are removed by the next one', async () => {
    const store = openStore();
    const producer = new Producer('life-one');
    await store.commit(producer.batch(0, marked(0, 0, MARKS)));
    for (const generation of [1, 2])
      await store.commit(producer.batch(0, [], START_MS + generation * MARK_GENERATION_MS));
    await store.close();
    expect(await marksOnDisk()).toBeGreaterThan(MARKS / 2);

    const next = openStore();
    const nextProducer = new Producer('life-two');
    for (let i = 0; i < 10; i++) await next.commit(nextProducer.batch(1, [], atTheEnd()));
    await next.close();
    expect(await marksOnDisk()).toBe(0);
  });

  function atTheEnd(): number {
    return START_MS + 2 * MARK_GENERATION_MS;
  }
});

describe('a store of more values than its cache holds', () => {
  /** Each has a chunk of members. */
  const POSTS = Array.from({ length: 5_000 }, (_, i) => `post-${i}`);
  const ACTORS = 18;
  const FIRST = POSTS[0]!;
  /** This many posts fill both halves of the cache, and evict all others. */
  const OTHERS = Array.from({ length: 40_000 }, (_, i) => `other-${i}`);
  /** The cache is emptied when 20,000 chunks were created or read. */
  const READS = 5;

  it('a store of more values than its cache holds reads evicted values from disk', async () => {
    const store = openStore();
    const producer = new Producer('life-one');
    const session = { session: key(7), seq: 1 };
    await store.commit(producer.batch(0, [view(FIRST, 1, session)]));
    for (let actor = 0; actor < ACTORS; actor++) {
      await store.commit(
        producer.batch(
          0,
          POSTS.map((post) => like(post, key(actor))),
        ),
      );
    }
    for (let read = 0; read < READS; read++) {
      await store.read(OTHERS, null);
      const found = await store.read(POSTS, key(ACTORS - 1));
      expect(found.every(({ counts, on }) => counts.totals[LIKES] === ACTORS && on === 1)).toBe(true);
    }
    await store.read(OTHERS, null);
    const again = await store.commit(producer.batch(0, [view(FIRST, 1, session), like(FIRST, key(3))]));
    expect(again).toMatchObject({ kind: 'applied', outcomes: Uint8Array.of(DUPLICATE, ON), changed: [] });
    await store.close();
  });
});

describe('a store that closes', () => {
  it('a store that closes commits its queued batches and completes its changes', async () => {
    const store = openStore();
    const producer = new Producer('life-one');
    let ended = false;
    store.changes.subscribe({ complete: () => (ended = true) });
    const commits = [1, 2, 3].map(() => store.commit(producer.batch(0, [view(postIn(0))])));
    await store.close();
    expect((await Promise.all(commits)).map(({ kind }) => kind)).toEqual(['applied', 'applied', 'applied']);
    expect(ended).toBe(true);

    const next = openStore();
    expect((await next.read([postIn(0)], null))[0]?.counts.v).toBe(3);
    await next.close();
  });
});

describe('a store that is restored from a backup', () => {
  it('a copy that has more posts of the last seq of a backup is past the start of the restored incarnation', async () => {
    const store = openStore();
    const producer = new Producer('producer-one');
    const [nothing] = await store.changeStore.changesSince([{ bucket: 0, after: 0 }], {
      limit: 500,
      withMembers: false,
    });
    await store.commit(producer.batch(0, [view(postIn(0))]));
    cpSync(path, `${path}-backup`, { recursive: true });
    await store.commit(producer.batch(0, [view(postIn(0, 1))]));
    const [page] = await store.changeStore.changesSince([{ bucket: 0, after: nothing!.upTo }], {
      limit: 500,
      withMembers: false,
    });
    expect(page!.posts).toHaveLength(2);
    await store.close();
    rmSync(path, { recursive: true });
    renameSync(`${path}-backup`, path);
    const restored = openStore();
    const [after] = await restored.changeStore.changesSince([{ bucket: 0, after: page!.upTo }], {
      limit: 500,
      withMembers: false,
    });
    expect(after!.starts).toHaveLength(2);
    expect(after!.starts[1]!.startSeq).toBeLessThanOrEqual(page!.upTo);
    await restored.close();
  });
});
