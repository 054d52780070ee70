import { expect, test } from '@jest/globals';
import { BUCKETS, key, like, METRICS, postIn, Producer, view } from '../../test/contract/operations.js';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import { bucketOf } from '../counters/bucket-of.js';
import { NOT_SYNCED } from '../counters/changed-posts.js';
import { Copier } from './copier.js';
import type { BucketWrite, Sink, SinkPosition } from './sink.js';

/** More than are read of a bucket at once. */
const HOT_POSTS = 1_100;

/** A sink that keeps its writes. */
class RecordingSink implements Sink {
  readonly name = 'recording';
  readonly keepsPositions = true;
  readonly writes: BucketWrite[] = [];
  readonly positions = new Map<number, SinkPosition>();

  constructor(readonly keepsMembers: boolean) {}

  readPositions(): Promise<ReadonlyMap<number, SinkPosition>> {
    return Promise.resolve(this.positions);
  }

  write(writes: readonly BucketWrite[]): Promise<boolean> {
    this.writes.push(...writes);
    for (const { bucket, position, sums } of writes)
      this.positions.set(bucket, { ...position, isComplete: sums !== null });
    return Promise.resolve(true);
  }

  adopt(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function openStore(): ReferenceStore {
  return new ReferenceStore(METRICS, BUCKETS, { region: 'eu', epoch: 1, nonce: 1 });
}

function openCopier(store: ReferenceStore, sink: Sink): Copier {
  const options = {
    buckets: BUCKETS,
    mayWrite: () => true,
    fullSyncStarted: () => undefined,
    written: () => undefined,
  };
  return new Copier(store.changeStore, sink, options);
}

async function copyAll(copier: Copier): Promise<void> {
  while ((await copier.cycle()) !== 'current');
}

test('a bucket in which too much changes all the time does not hold up the full syncs of others', async () => {
  const store = openStore();
  const sink = new RecordingSink(false);
  const copier = openCopier(store, sink);
  const names = Array.from({ length: HOT_POSTS * BUCKETS * 2 }, (_, i) => `post-${i}`);
  const hot = names.filter((post) => bucketOf(post, BUCKETS) === 0).slice(0, HOT_POSTS);
  const producer = new Producer('producer-one');
  await store.commit(new Producer('producer-two').batch(1, [view(postIn(1))]));
  for (let cycle = 0; cycle < 100 && (sink.positions.get(1)?.upTo ?? NOT_SYNCED) === NOT_SYNCED; cycle++) {
    await store.commit(
      producer.batch(
        0,
        hot.map((post) => view(post)),
      ),
    );
    await copier.cycle();
  }
  expect(sink.positions.get(1)?.upTo).toBeGreaterThan(NOT_SYNCED);
});

test('a sink without members gets none, even if another one has them', async () => {
  const store = openStore();
  const [plain, withMembers] = [new RecordingSink(false), new RecordingSink(true)];
  const copiers = [plain, withMembers].map((sink) => openCopier(store, sink));
  for (const copier of copiers) await copyAll(copier);
  await store.commit(new Producer('producer-one').batch(0, [like(postIn(0), key(1))]));
  for (const copier of copiers) await copyAll(copier);
  expect(withMembers.writes.flatMap(({ members }) => members)).toHaveLength(1);
  expect(plain.writes.flatMap(({ members }) => members)).toEqual([]);
});
