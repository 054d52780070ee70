import { expect, test } from '@jest/globals';
import { view } from '../../test/contract/operations.js';
import type { MilestonesView, MilestoneStore } from '../store/milestone-store.js';
import { RegionForwarding } from './region-forwarding.js';

const PEER = { region: 'us', forward: () => Promise.resolve([]), hasLog: () => Promise.resolve(false) };

/** @param decides the region that has to do each operation */
function forwardingOf(decides: string | null, waitingFor: readonly string[]): RegionForwarding {
  const read = (): Promise<MilestonesView> => Promise.resolve({ armed: [], reached: [], home: null, waitingFor });
  const store = { forwardTo: (all: readonly unknown[]) => Promise.resolve(all.map(() => decides)), read };
  return new RegionForwarding(store as Partial<MilestoneStore> as MilestoneStore, [PEER]);
}

test('an operation of a region that is not in PEERS any more is not forwarded, and the reason names the region', async () => {
  const removed = forwardingOf('ap', []);
  expect(await removed.forwardTo([view('p')])).toEqual([null]);
  expect(await removed.findWaitReason(view('p'))).toEqual({ regions: ['ap'], cause: 'removed' });
});

test('an operation that this region may not count yet waits for those that have not confirmed', async () => {
  const waiting = forwardingOf(null, ['us']);
  expect(await waiting.forwardTo([view('p')])).toEqual([null]);
  expect(await waiting.findWaitReason(view('p'))).toEqual({ regions: ['us'], cause: 'unconfirmed' });
});

test('the reason is unknown while the store does not answer', async () => {
  const failing = new RegionForwarding(
    { forwardTo: () => Promise.reject(new Error('down')) } as Partial<MilestoneStore> as MilestoneStore,
    [PEER],
  );
  expect(await failing.findWaitReason(view('p'))).toEqual({ regions: [], cause: 'unconfirmed' });
});
