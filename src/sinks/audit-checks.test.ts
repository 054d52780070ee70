import { expect, test } from '@jest/globals';
import { BUCKETS, METRICS, postIn, Producer, view } from '../../test/contract/operations.js';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import { AuditChecks } from './audit-checks.js';
import type { AuditedSink } from './audited-sink.js';

const POST = postIn(0);

/** A sink without rows. */
const EMPTY_SINK = {
  readCounts: () => Promise.resolve(new Map()),
  findDead: () => Promise.resolve(new Set()),
} as unknown as AuditedSink;

async function openStore(epoch: number): Promise<ReferenceStore> {
  const store = new ReferenceStore(METRICS, BUCKETS, { region: 'eu', epoch, nonce: 40 });
  await store.commit(new Producer('producer-one').batch(0, [view(POST)]));
  return store;
}

test('a post without a row has drift, unless the store has begun another incarnation since, which may have lost it', async () => {
  const before = await openStore(1);
  const { posts } = await before.changeStore.readAll(new Set([0]), '', 10);
  const options = { buckets: BUCKETS, metrics: METRICS };
  expect(await new AuditChecks(before.changeStore, EMPTY_SINK, options).compareAgain(posts)).toEqual([
    expect.objectContaining({ arm: 'rows', post: POST, sink: null }),
  ]);
  const after = await openStore(2);
  expect(await new AuditChecks(after.changeStore, EMPTY_SINK, options).compareAgain(posts)).toEqual([]);
});
