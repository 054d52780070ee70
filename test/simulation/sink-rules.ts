import { ChangeFeed, type FeedEntry } from '../../src/counters/change-feed.js';
import { compareIncarnations, type Incarnation } from '../../src/counters/pn-counter.js';
import { COPY_RULES, type CopyRules } from '../../src/sinks/copier.js';
import { decideCopy } from '../../src/sinks/copy-decision.js';
import { FullSyncRun } from '../../src/sinks/full-sync-run.js';
import type { BucketWrite } from '../../src/sinks/sink.js';
import type { ChangePage, ChangeStore } from '../../src/store/change-store.js';
import {
  CHANGE_RECORD_RULES,
  type ChangeRecordRules,
  type MemoryChangeRecord,
} from '../contract/memory-change-record.js';
import type { ReferenceStore } from '../contract/reference-store.js';
import { TABLE_RULES, type TableRules } from './sink-table.js';

/** Entries that a record keeps, and posts of a seq: few, so that a history of seconds reaches them. */
export const FEED_MAX = 6;
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
}

export const SINK_RULES: SinkRules = {
  copy: COPY_RULES,
  records: {
    ...CHANGE_RECORD_RULES,
    newFeed: (startsAt) => new ChangeFeed(startsAt, FEED_MAX),
    entriesPerSeq: ENTRIES_PER_SEQ,
  },
  table: TABLE_RULES,
  merge: (_store, merge) => merge(),
  reopen: (record, incarnation) => record.reopen(incarnation),
  trustsStoredPositions: false,
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

      constructor(private readonly startsAt: number) {
        super(startsAt, FEED_MAX);
      }
    },
  ),
  'a page ends inside a seq': withFeed(
    class extends ChangeFeed {
      constructor(startsAt: number) {
        super(startsAt, FEED_MAX);
      }

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
};

/** A full sync that goes on when the incarnation of a bucket is over. */
class ContinuedRun extends FullSyncRun {
  override take(page: ChangePage): BucketWrite | null {
    this.add({ ...page, upTo: this.upTo(page.bucket)! });
    return super.take(page);
  }
}

/** A full sync that reads changes before posts. */
class EarlyRun extends FullSyncRun {
  readonly #added = new Set<number>();
  #changes = new Map<number, ChangePage>();

  constructor(
    private readonly changes: Pick<ChangeStore, 'changesSince' | 'readAll' | 'readMembers'>,
    buckets: number,
    withMembers: boolean,
  ) {
    super(changes, buckets, withMembers);
  }

  override add(page: ChangePage): void {
    this.#added.add(page.bucket);
    super.add(page);
  }

  override async readPage(): Promise<void> {
    const requests = [...this.#added].flatMap((bucket) => {
      const after = this.upTo(bucket);
      return after === undefined ? [] : [{ bucket, after }];
    });
    const pages = await this.changes.changesSince(requests, { limit: 500, withMembers: false });
    this.#changes = new Map(pages.map((page) => [page.bucket, page]));
    await super.readPage();
  }

  override take(page: ChangePage): BucketWrite | null {
    return super.take(this.#changes.get(page.bucket) ?? page);
  }
}

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

function withFeed(Feed: new (startsAt: number) => ChangeFeed): SinkRules {
  return withRecords({ newFeed: (startsAt) => new Feed(startsAt) });
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
