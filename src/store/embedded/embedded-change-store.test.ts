import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { open } from 'lmdb';
import { BUCKETS, key, like, METRICS, postIn, Producer } from '../../../test/contract/operations.js';
import { LIKES } from '../../counters/metrics.js';
import { EmbeddedStore } from './embedded-store.js';

const POST = postIn(0);
const LIKES_COUNT = 400;

let path: string;

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'tallycast-embedded-'));
});
afterEach(() => rmSync(path, { recursive: true }));

function openStore(): EmbeddedStore {
  const options = { path, buckets: BUCKETS, metrics: METRICS, region: 'local', nonce: (): number => 1 };
  return new EmbeddedStore({ ...options, actorKeys: 'hash' });
}

/** Removes a chunk of members from the data file. @returns how many members were in it */
async function removeChunk(): Promise<number> {
  const root = open({ path: join(path, 'counters.mdb'), noSubdir: true, overlappingSync: false });
  const members = root.openDB<Buffer, Buffer>({ name: 'members', encoding: 'binary', keyEncoding: 'binary' });
  const [chunk] = [...members.getRange({ start: Buffer.from([0]), limit: 1 })];
  await members.remove(chunk!.key);
  await root.close();
  return chunk!.value.length / 8;
}

test('lost members are found, and the post counts those that are left once it is repaired', async () => {
  const before = openStore();
  const producer = new Producer('producer-one');
  const likes = Array.from({ length: LIKES_COUNT }, (_, i) => like(POST, key(i)));
  await before.commit(producer.batch(0, likes));
  await before.close();
  const left = LIKES_COUNT - (await removeChunk());
  const store = openStore();
  const { changeStore } = store;
  const drift = { post: POST, metric: LIKES, counted: LIKES_COUNT, members: left };
  expect(await changeStore.checkMembers([POST], false)).toEqual([drift]);
  const [v] = (await store.read([POST], null)).map(({ counts }) => counts.v);
  const [started] = await changeStore.changesSince([{ bucket: 0, after: 0 }], { limit: 500, withMembers: true });
  expect(await changeStore.checkMembers([POST], true)).toEqual([drift]);
  const [changes] = await changeStore.changesSince([{ bucket: 0, after: started!.upTo }], {
    limit: 500,
    withMembers: true,
  });
  expect(changes!.posts).toMatchObject([{ post: POST, v: v! + 1, totals: [left, 0, 0, 0] }]);
  expect(await changeStore.checkMembers([POST], false)).toEqual([]);
  await store.close();
});
