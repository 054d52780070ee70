import { expect, test } from '@jest/globals';
import { Producer, view } from '../../test/contract/operations.js';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { bucketOf } from '../counters/ids.js';
import { Metrics } from '../counters/metrics.js';
import type { DeltaAck, Delta } from '../counters/replication/delta.js';
import { ChangeReader } from './change-reader.js';
import { PeerLink } from './peer-link.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const BUCKETS = 2;
const INTERVAL_MS = 100;

function storeOf(region: string): ReferenceStore {
  return new ReferenceStore(METRICS, BUCKETS, { region, epoch: 1, nonce: 1 }, () => 1);
}

function postIn(bucket: number): string {
  for (let i = 0; ; i++) if (bucketOf(`post-${i}`, BUCKETS) === bucket) return `post-${i}`;
}

test('a link goes on with its other buckets when another gateway leads one of those that it scans', async () => {
  const clock = new SimulatedClock();
  const [eu, us] = [storeOf('eu'), storeOf('us')];
  const life = new Producer('life-one');
  for (const bucket of [0, 1]) await eu.commit(life.batch(bucket, [view(postIn(bucket))]));
  let led: readonly number[] = [0, 1];
  const warnings: string[] = [];
  const peer = {
    region: 'us',
    async push(shipments: readonly Delta[]): Promise<readonly DeltaAck[]> {
      // The first page has been sent, which is of bucket 0: the second one is of bucket 1.
      if (shipments.some(({ kind }) => kind === 'full-sync')) led = [0];
      return us.merge(shipments);
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
    leasedBuckets: () => led,
    peers: ['us'],
    rewindClocks: () => Promise.resolve(),
  });
  link.start();
  await clock.advance(10 * INTERVAL_MS);
  expect(warnings).toEqual(['region us is reached']);
  const [own, other] = await us.read([postIn(0), postIn(1)], null);
  expect([own!.counts.totals, other!.counts.totals]).toEqual([
    [0, 1],
    [0, 0],
  ]);
  const closed = link.close();
  await clock.advance(INTERVAL_MS);
  await closed;
});
