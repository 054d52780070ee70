import { expect, it } from '@jest/globals';
import { bucketOf } from '../../counters/bucket-of.js';
import { METRICS_MAX, Metrics, VIEWS } from '../../counters/metrics.js';
import {
  type HomeConfirmation,
  type MilestoneHome,
  type ReachedMilestone,
  RECORDS_MAX,
} from '../../counters/milestones.js';
import type { Delta, HomeDelta } from '../../counters/replication/delta.js';
import { DeltaValidation } from './delta-validation.js';

const BUCKETS = 4;
const POST = 'story';
const US = { region: 'us', epoch: 1, nonce: 1 };
const HOME: MilestoneHome = { region: 'us', number: 1, mode: 'strict' };
const validation = new DeltaValidation(BUCKETS, 'hash', Metrics.parse('likes:toggle,views:tally'));

function deltaWith(homes: readonly HomeDelta[]): Delta {
  return {
    kind: 'changes',
    bucket: bucketOf(POST, BUCKETS),
    source: US,
    ...{ startedAtStamp: 0, predecessors: [], after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null },
    posts: [{ post: POST, updatedAtMs: 0, entries: [], registers: [], members: [], homes }],
  };
}

function homeWith(about: Partial<HomeDelta> = {}): HomeDelta {
  return { metric: VIEWS, home: HOME, confirmations: [], reached: [], ...about };
}

function confirmationsOf(regions: number): HomeConfirmation[] {
  return Array.from({ length: regions }, (_, i) => ({ region: `r-${i}`, epoch: 1, nonce: 1, home: HOME, stamp: 0 }));
}

function recordOf(n: number): ReachedMilestone {
  const about = { actor: null, session: null, seq: 0, kind: 'add', value: 1, v: 1, missed: false } as const;
  return { n, total: n, ...about, region: 'us', epoch: 1, atMs: 0, recordedAtMs: 0 };
}

const RECORDS = Array.from({ length: RECORDS_MAX + 1 }, (_, i) => recordOf(i + 1));

it('homes within the limits are valid', () => {
  const most = homeWith({ confirmations: confirmationsOf(33), reached: RECORDS.slice(0, RECORDS_MAX) });
  expect(() => validation.check('us', [deltaWith([most, homeWith({ metric: 0, home: null })])])).not.toThrow();
});

it.each([
  ['metric of a home must be below 2', [homeWith({ metric: METRICS_MAX - 1 })]],
  ['homes must be at most 2, one for each metric', [homeWith(), homeWith(), homeWith()]],
  ['confirmations must be at most 33', [homeWith({ confirmations: confirmationsOf(34) })]],
  [
    'confirmations must be of different regions',
    [homeWith({ confirmations: [...confirmationsOf(1), ...confirmationsOf(1)] })],
  ],
  ['records must be at most 144', [homeWith({ reached: RECORDS })]],
  ['records must have different n', [homeWith({ reached: [recordOf(2), recordOf(2)] })]],
  ['n of a record must be at least 1, and its total at least n', [homeWith({ reached: [recordOf(0)] })]],
  [
    'n of a record must be at least 1, and its total at least n',
    [homeWith({ reached: [{ ...recordOf(2), total: 1 }] })],
  ],
])('a delta is rejected whose homes break a rule: %s', (problem, homes) => {
  expect(() => validation.check('us', [deltaWith(homes)])).toThrow(problem);
});
