import { ChangeFeed, type FeedEntry } from '../../src/counters/change-feed.js';
import type { ChangedPostsState } from '../../src/counters/changed-posts.js';
import { compareIncarnations, type Incarnation } from '../../src/counters/pn-counter.js';
import { COPY_RULES, type CopyRules } from '../../src/sinks/copier.js';
import { decideCopy } from '../../src/sinks/copy-decision.js';
import {
  CHANGE_RECORD_RULES,
  type ChangeRecordRules,
  type MemoryChangeRecord,
} from '../contract/memory-change-record.js';
import type { ReferenceStore } from '../contract/reference-store.js';
import { ContinuedRun, CountsRun, EarlyRun, OverwritingRun, PagesOnlyRun } from './sink-full-syncs.js';
import { FINAL_MS } from './sink-milestones.js';
import { MEMBER_RULES, type MemberRules } from './sink-members.js';
import { TABLE_RULES, type TableRules } from './sink-table.js';

/** Entries that a record keeps, and entries of a seq: few, so that a history of seconds reaches them. */
const FEED_MAX = 6;
const FEED_WITH_MEMBERS_MAX = 12;
const ENTRIES_PER_SEQ = 2;

/** The rules of a history. A planted fault replaces one of them. */
export interface SinkRules {
  readonly copy: CopyRules;
  readonly records: ChangeRecordRules;
  readonly table: TableRules;
  /** Runs a merge of counts of another region into a store. */
  readonly merge: (store: ReferenceStore, merge: () => void) => void;
  readonly reopen: (record: MemoryChangeRecord, incarnation: Incarnation) => MemoryChangeRecord;
  /** Whether the positions that the store keeps for the consumer are taken for those that the consumer has. */
  readonly trustsStoredPositions: boolean;
  /** Whether the store reads members of a page one commit later than the page. */
  readonly readsMembersLate: boolean;
  /** Whether a record of changes starts without the records of milestones that may still be lost. */
  readonly takesEarlierRecordsForFinal: boolean;
}

export const SINK_RULES: SinkRules = {
  copy: COPY_RULES,
  records: {
    ...CHANGE_RECORD_RULES,
    feedMax: feedMaxOf,
    entriesPerSeq: ENTRIES_PER_SEQ,
    isRecordFinal: ({ recordedAtMs }, nowMs) => recordedAtMs <= nowMs - FINAL_MS,
  },
  table: TABLE_RULES,
  merge: (_store, merge) => merge(),
  reopen: (record, incarnation) => record.reopen(incarnation),
  trustsStoredPositions: false,
  readsMembersLate: false,
  takesEarlierRecordsForFinal: false,
};

/** The faults that the simulation has to find. */
export const PLANTS: Readonly<Record<string, SinkRules>> = {
  'rows are written before their position': withTable({ order: 'rows first' }),
  'a position is written before its rows': withTable({ order: 'position first' }),
  'no turns and no versions': withTable({ checksTurn: false, checksVersion: false }),
  'no turns': withTable({ checksTurn: false }),
  'a copy at the seq of a start goes on': withCopy({
    decide: (position, page) => {
      const starts = page.starts.map((start) => ({ ...start, startSeq: start.startSeq + 1 }));
      return decideCopy(position, { ...page, starts });
    },
  }),
  'a copy is compared with the newest start alone': withCopy({
    decide: (position, page) => {
      const same = page.starts.filter(
        (start) => position !== undefined && compareIncarnations(start, position) === 'same',
      );
      const newest = page.starts.slice(-1).filter((start) => !same.includes(start));
      return decideCopy(position, { ...page, starts: [...same, ...newest] });
    },
  }),
  'a copy between two pages goes on in another incarnation': withCopy({
    decide: (position, page) => decideCopy(position && { ...position, isComplete: true }, page),
  }),
  'entries are dropped without notice': withFeed(
    class extends ChangeFeed {
      override get droppedUpTo(): number {
        return this.startsAt;
      }

      constructor(
        private readonly startsAt: number,
        max: number,
      ) {
        super(startsAt, max);
      }
    },
  ),
  'a page ends inside a seq': withFeed(
    class extends ChangeFeed {
      override entriesAfter(stamp: number, limit: number): { entries: FeedEntry[]; upTo: number | null } {
        const { entries } = super.entriesAfter(stamp, Infinity);
        if (entries.length <= limit) return { entries, upTo: null };
        return { entries: entries.slice(0, limit), upTo: entries[limit - 1]!.stamp };
      }
    },
  ),
  'merges are not recorded': { ...SINK_RULES, merge: mergeUnrecorded },
  'merges do not move sums': { ...SINK_RULES, merge: mergeWithoutSums },
  'lost posts are not zeroed': withTable({ zeroesLostPosts: false }),
  'rows that a full sync finds unchanged keep their epoch': withTable({ renewsEpoch: false }),
  'a full sync goes on in another incarnation': withFullSync(
    (store, buckets, withMembers) => new ContinuedRun(store, buckets, withMembers),
  ),
  'a full sync ends with changes from before its last page': withFullSync(
    (store, buckets, withMembers) => new EarlyRun(store, buckets, withMembers),
  ),
  'the position of before stays during a full sync': withTable({ keepsPosition: true }),
  'recording that was stopped starts at the first seq': withRecords({ firstSeq: () => 2 }),
  'a reopened store starts its incarnation above the seq that it recovered': {
    ...SINK_RULES,
    // The start is noted later then, when something is recorded or collected.
    reopen: (record, incarnation) => record.reopen(record.posts.state.starts.at(-1) ?? incarnation),
  },
  'positions of the store are taken for those of the consumer': { ...SINK_RULES, trustsStoredPositions: true },
  'merges do not record members': { ...SINK_RULES, merge: mergeWithoutMembers },
  'members are read later than their page': { ...SINK_RULES, readsMembersLate: true },
  'older members of a post stay when a full sync has sent all of them': withMemberTable({ sweepsPosts: false }),
  'members of earlier pages of the same full sync are swept': withMemberTable({ sweepsBelow: 'current turn' }),
  'members are swept from the turn of a full sync that did not end': withMemberTable({ renewsFirstTurn: false }),
  'lost posts keep their members': withMemberTable({ clearsLostPosts: false }),
  'posts that are created again within a full sync keep their members': withFullSync(
    (store, buckets, withMembers) => new PagesOnlyRun(store, buckets, withMembers),
  ),
  'a record that starts with members keeps its entries': withRecords({
    startMembers: (state, _incarnation, droppedUpTo) => ({ state: { ...state, recordsMembers: true }, droppedUpTo }),
  }),
  'finality is judged by the age of the batch': withRecords({
    isRecordFinal: ({ atMs }, nowMs) => atMs <= nowMs - FINAL_MS,
  }),
  'a sink gets records before they are final': withRecords({
    isRecordFinal: ({ recordedAtMs }, nowMs) => recordedAtMs <= nowMs - FINAL_MS / 2,
  }),
  'a record that became final is not entered': withFeed(
    class extends ChangeFeed {
      override recordMilestone(): boolean {
        return false;
      }
    },
  ),
  'a full sync brings no milestones': withFullSync(
    (store, buckets, withMembers) => new CountsRun(store, buckets, withMembers),
  ),
  'records from before the recording are taken for final': {
    ...SINK_RULES,
    takesEarlierRecordsForFinal: true,
  },
  'members of a page overwrite newer ones': withFullSync(
    (store, buckets, withMembers) => new OverwritingRun(store, buckets, withMembers),
  ),
};

function withTable(rules: Partial<TableRules>): SinkRules {
  return { ...SINK_RULES, table: { ...TABLE_RULES, ...rules } };
}

function withCopy(rules: Partial<CopyRules>): SinkRules {
  return { ...SINK_RULES, copy: { ...COPY_RULES, ...rules } };
}

function withFullSync(startFullSync: CopyRules['startFullSync']): SinkRules {
  return withCopy({ startFullSync });
}

function withRecords(rules: Partial<ChangeRecordRules>): SinkRules {
  return { ...SINK_RULES, records: { ...SINK_RULES.records, ...rules } };
}

function withFeed(Feed: new (startsAt: number, max: number) => ChangeFeed): SinkRules {
  return withRecords({ newFeed: (startsAt, max) => new Feed(startsAt, max) });
}

function withMemberTable(rules: Partial<MemberRules>): SinkRules {
  return withTable({ members: { ...MEMBER_RULES, ...rules } });
}

function feedMaxOf({ recordsMembers }: ChangedPostsState): number {
  return recordsMembers ? FEED_WITH_MEMBERS_MAX : FEED_MAX;
}

function mergeUnrecorded({ buckets }: ReferenceStore, merge: () => void): void {
  const records = buckets.map(({ changedPosts }) => changedPosts);
  for (const bucket of buckets) bucket.changedPosts = null;
  merge();
  for (const [i, bucket] of buckets.entries()) bucket.changedPosts = records[i]!;
}

function mergeWithoutSums({ buckets }: ReferenceStore, merge: () => void): void {
  const sums = buckets.map(({ changedPosts }) => [...(changedPosts?.posts.state.sums ?? [])]);
  merge();
  for (const [i, { changedPosts }] of buckets.entries())
    if (changedPosts !== null) changedPosts.posts.state.sums = sums[i]!;
}

function mergeWithoutMembers({ buckets }: ReferenceStore, merge: () => void): void {
  const states = buckets.flatMap(({ changedPosts }) => (changedPosts === null ? [] : [changedPosts.posts.state]));
  const recording = states.filter(({ recordsMembers }) => recordsMembers);
  for (const state of recording) state.recordsMembers = false;
  merge();
  for (const state of recording) state.recordsMembers = true;
}
