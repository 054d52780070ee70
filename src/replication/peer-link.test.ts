import { expect, test } from '@jest/globals';
import { Producer, view } from '../../test/contract/operations.js';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { bucketOf } from '../counters/bucket-of.js';
import { Metrics } from '../counters/metrics.js';
import type { Delta, DeltaAck } from '../counters/replication/delta.js';
import { ChangeReader } from './change-reader.js';
import { PeerLink } from './peer-link.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const BUCKETS = 2;
const INTERVAL_MS = 100;

function openStore(region: string): ReferenceStore {
  return new ReferenceStore(METRICS, BUCKETS, { region, epoch: 1, nonce: 1 }, () => 1);
}

function postIn(bucket: number): string {
  for (let i = 0; ; i++) if (bucketOf(`post-${i}`, BUCKETS) === bucket) return `post-${i}`;
}

test('a full sync continues with its other buckets after another gateway has leased one of them', async () => {
  const clock = new SimulatedClock();
  const [eu, us] = [openStore('eu'), openStore('us')];
  const producer = new Producer('producer-one');
  for (const bucket of [0, 1]) await eu.commit(producer.batch(bucket, [view(postIn(bucket))]));
  let leased: readonly number[] = [0, 1];
  const warnings: string[] = [];
  const peer = {
    region: 'us',
    async push(deltas: readonly Delta[]): Promise<readonly DeltaAck[]> {
      // This is the page of bucket 0. The next one is of bucket 1.
      if (deltas.some(({ kind }) => kind === 'full-sync')) leased = [0];
      return us.merge(deltas);
    },
    compareDigests: () => Promise.resolve([]),
    readPosts: () => Promise.resolve([]),
    close: () => undefined,
  };
  const link = new PeerLink(eu, peer, clock, {
    changeReader: new ChangeReader(eu, ['us'], clock, INTERVAL_MS, 0),
    random: () => 0.5,
    warn: (message) => warnings.push(message),
    reportLostHistory: () => undefined,
    ackedUpTo: () => 0,
    leasedBuckets: () => leased,
    peers: ['us'],
    rewindClocks: () => Promise.resolve(),
  });
  link.start();
  await clock.advance(10 * INTERVAL_MS);
  expect(warnings).toEqual(['region us is up']);
  const [own, other] = await us.read([postIn(0), postIn(1)], null);
  expect([own!.counts.totals, other!.counts.totals]).toEqual([
    [0, 1],
    [0, 0],
  ]);
  const closed = link.close();
  await clock.advance(INTERVAL_MS);
  await closed;
});
