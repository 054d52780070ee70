import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { open } from 'lmdb';
import { BUCKETS, key, Producer, like, METRICS, postIn } from '../../../../test/contract/operations.js';
import {
  newReplicationState,
  type PersistentReplicationState,
} from '../../../counters/replication/replication-state.js';
import { ByteWriter } from './record-bytes.js';
import { EmbeddedStore } from '../embedded-store.js';
import { CLOCK_SUFFIX, encodeReplicationState, readReplicationState, STATE_SUFFIX } from './replication-record.js';
import { LmdbTable } from './lmdb-table.js';

const PEERS = ['us'];
const LIMIT = 10;

let path: string;

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'tallycast-regional-'));
});
afterEach(() => rmSync(path, { recursive: true }));

function openStore(): EmbeddedStore {
  const regional = { wallMs: () => 0, peers: [] };
  return new EmbeddedStore({
    path,
    buckets: BUCKETS,
    actorKeys: 'hash',
    metrics: METRICS,
    region: 'eu',
    nonce: () => 1,
    replication: regional,
  });
}

it('a store that was closed sends nothing to a peer that has its last change, even if it has received later stamps', async () => {
  const store = openStore();
  await store.commit(new Producer('life-one').batch(0, [like(postIn(0), key(1))]));
  const [changes] = await store.replication!.changesSince([{ bucket: 0, after: 0, ackedUpTo: 0 }], PEERS, LIMIT);
  const { upTo, source } = changes!;
  expect(changes!.posts).toHaveLength(1);
  const later = { ...changes!, source: { ...source, region: 'us' }, posts: [], stableStamp: upTo + 1_000_000 };
  const [standing] = await store.replication!.bucketStatus([0]);
  await store.replication!.merge([{ ...later, kind: 'full-sync-end', fullSyncReceiver: standing! }]);
  const [seen] = await store.replication!.bucketStatus([0]);
  expect(seen!.clock).toBe(upTo + 1_000_000);
  await store.close();

  const next = openStore();
  const collect = (after: number): ReturnType<NonNullable<EmbeddedStore['replication']>['changesSince']> =>
    next.replication!.changesSince([{ bucket: 0, after, ackedUpTo: 0 }], PEERS, LIMIT);
  expect(await collect(upTo)).toMatchObject([{ posts: [], upTo: seen!.clock }]);
  expect(await collect(upTo - 1)).toEqual([null]);
  await next.close();
});

it('a store that was not closed may have changed everything up to its clock', async () => {
  const root = open({ path: join(path, 'counters.mdb'), noSubdir: true });
  const table = new LmdbTable(root, 'regional');
  const state: PersistentReplicationState = { ...newReplicationState(0), clock: 100, lastChangeStamp: 40 };
  const read = async (clock: number): Promise<PersistentReplicationState | undefined> => {
    table.put(`b${STATE_SUFFIX}`, encodeReplicationState(state));
    table.put(`b${CLOCK_SUFFIX}`, new ByteWriter().varint(clock).value());
    await root.flushed;
    return readReplicationState(table, 'b');
  };
  expect(await read(100)).toEqual(state);
  expect(await read(500)).toEqual({ ...state, clock: 500, lastChangeStamp: 500 });
  await root.close();
});

it('the state keeps its field names on disk, because they are part of the format', () => {
  const state = newReplicationState(0);
  state.versionVector.set('us', { epoch: 1, nonce: 2, upTo: 3, ackedUpTo: 4 });
  state.latestIncarnations.set('us', { epoch: 1, nonce: 2 });
  expect(encodeReplicationState(state).toString()).toBe(
    '{"clock":0,"changedAt":0,"born":0,"goesOn":[],"found":0,"sure":0,"filling":false,"toldBy":[],"toldAt":0,' +
      '"confirmed":0,"floor":0,"known":[["us",{"epoch":1,"nonce":2,"upTo":3,"confirmed":4}]],' +
      '"heard":[["us",{"epoch":1,"nonce":2}]]}',
  );
});
