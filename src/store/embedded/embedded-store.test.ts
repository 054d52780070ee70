import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { open } from 'lmdb';
import { BUCKETS, key, Life, METRICS, postIn, START_MS, view } from '../../../test/contract/operations.js';
import { MARK_GENERATION_MS } from '../../counters/bucket.js';
import type { Operation } from '../../counters/operation.js';
import { EmbeddedStore } from './embedded-store.js';

const MARKS = 5_000;

let path: string;

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'tallycast-embedded-'));
});
afterEach(() => rmSync(path, { recursive: true }));

function openStore(): EmbeddedStore {
  return new EmbeddedStore({ path, buckets: BUCKETS, metrics: METRICS, region: 'local', nonce: () => 1 });
}

function marked(bucket: number, from: number, count: number): Operation[] {
  return Array.from({ length: count }, (_, i) => view(postIn(bucket), 1, { session: key(from + i), seq: 1 }));
}

async function marksOnDisk(): Promise<number> {
  const root = open({ path: join(path, 'counters.mdb'), noSubdir: true, overlappingSync: false });
  const stats = root.openDB<Buffer, string>({ name: 'marks', encoding: 'binary' }).getStats() as { entryCount: number };
  await root.close();
  return stats.entryCount;
}

describe('old marks', () => {
  it('leave the disk as others come, a little with every commit, of each bucket that had them', async () => {
    const store = openStore();
    const life = new Life('life-one');
    for (const bucket of [0, 1]) await store.commit(life.batch(bucket, marked(bucket, 0, MARKS)));
    for (const generation of [1, 2]) {
      const atMs = START_MS + generation * MARK_GENERATION_MS;
      for (const bucket of [0, 1]) await store.commit(life.batch(bucket, [], atMs));
    }
    for (let i = 0; i < 20; i++) await store.commit(life.batch(0, marked(0, MARKS + i, 1), atTheEnd()));
    await store.close();
    expect(await marksOnDisk()).toBe(20);
  });

  it('that a process left behind are removed by the next', async () => {
    const store = openStore();
    const life = new Life('life-one');
    await store.commit(life.batch(0, marked(0, 0, MARKS)));
    for (const generation of [1, 2]) await store.commit(life.batch(0, [], START_MS + generation * MARK_GENERATION_MS));
    await store.close();
    expect(await marksOnDisk()).toBeGreaterThan(MARKS / 2);

    const next = openStore();
    const nextLife = new Life('life-two');
    for (let i = 0; i < 10; i++) await next.commit(nextLife.batch(1, [], atTheEnd()));
    await next.close();
    expect(await marksOnDisk()).toBe(0);
  });

  function atTheEnd(): number {
    return START_MS + 2 * MARK_GENERATION_MS;
  }
});

describe('a store that is closed', () => {
  it('has committed what it was given before, and ends its changes', async () => {
    const store = openStore();
    const life = new Life('life-one');
    let ended = false;
    store.changes.subscribe({ complete: () => (ended = true) });
    const commits = [1, 2, 3].map(() => store.commit(life.batch(0, [view(postIn(0))])));
    await store.close();
    expect((await Promise.all(commits)).map(({ kind }) => kind)).toEqual(['applied', 'applied', 'applied']);
    expect(ended).toBe(true);

    const next = openStore();
    expect((await next.read([postIn(0)], null))[0]?.counts.v).toBe(3);
    await next.close();
  });
});
