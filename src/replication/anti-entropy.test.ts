import { expect, it } from '@jest/globals';
import { Metrics } from '../counters/metrics.js';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { AntiEntropy } from './anti-entropy.js';
import type { Peer } from './transport/peer.js';

const PERIOD_MS = 60_000;
const TURNS = 16;

it.each([1, 5, 40, 64])('%d buckets are compared equally often', async (buckets) => {
  const own = { region: 'eu', epoch: 1, nonce: 1 };
  const store = new ReferenceStore(Metrics.parse('likes:toggle,views:tally'), buckets, own, () => 1);
  const clock = new SimulatedClock();
  const antiEntropy = new AntiEntropy(store, clock, PERIOD_MS, buckets);
  const all = Array.from({ length: buckets }, (_, bucket) => bucket);
  const compared = all.map(() => 0);
  const peer: Peer = {
    region: 'us',
    compareDigests(digests) {
      for (const { bucket } of digests) compared[bucket]! += 1;
      return Promise.resolve([]);
    },
    push: () => Promise.resolve([]),
    readPosts: () => Promise.resolve([]),
  };
  const turns = Math.min(TURNS, buckets);
  for (let period = 0; period < 2 * turns; period++) {
    const done = antiEntropy.computeDigests().then(() => antiEntropy.repairPeer(peer, all));
    await clock.advance(PERIOD_MS);
    await done;
  }
  expect(compared).toEqual(all.map(() => 2));
});
