import { systemClock } from '../../src/common/clock.js';
import type { PostCounts } from '../../src/counters/batch.js';
import type { CopyPosition } from '../../src/counters/changed-posts.js';
import { fromInt64 } from '../../src/counters/ids.js';
import { Metrics } from '../../src/counters/metrics.js';
import type { MemberState } from '../../src/store/change-store.js';
import type { BucketWrite, SinkOptions, SinkPosition } from '../../src/sinks/sink.js';
import { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import type { TestDatabase } from '../support/postgres-server.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
export const START_MS = Date.UTC(2026, 0, 1) + 123;

const sinks = new Set<PostgresSink>();

/** A sink that `closeSinks` closes. `warnings` gets what it logs. */
export function openSink(url: URL, options: Partial<SinkOptions> = {}, warnings: string[] = []): PostgresSink {
  const sink = new PostgresSink({
    ...{ url, region: 'eu', buckets: 4, metrics: METRICS, sinkMembers: false, clock: systemClock },
    warn: (message) => warnings.push(message),
    ...options,
  });
  sinks.add(sink);
  return sink;
}

/** For `afterEach`. */
export async function closeSinks(): Promise<void> {
  await Promise.all([...sinks].map((sink) => sink.close()));
  sinks.clear();
}

export function counts(post: string, v: number, totals: readonly number[] = [v, 0]): PostCounts {
  return { post, e: 'eu.1.a', v, updatedAtMs: START_MS + v, totals, live: 0 };
}

function position(upTo: number, epoch = 1): CopyPosition {
  return { epoch, nonce: 4_294_967_295, upTo, changedAtMs: START_MS + upTo };
}

/** The same as it is read. */
export function positionRead(upTo: number, epoch = 1, isComplete = false): SinkPosition {
  return { ...position(upTo, epoch), isComplete };
}

/** Changes of bucket 0 up to a seq. */
export function changes(upTo: number, posts: readonly PostCounts[], more: Partial<BucketWrite> = {}): BucketWrite {
  const epoch = more.epoch ?? 1;
  return {
    bucket: 0,
    epoch,
    posts,
    members: [],
    milestones: [],
    postsWithAllMembers: [],
    position: position(upTo, epoch),
    sums: null,
    startsFullSync: false,
    endsFullSync: false,
    ...more,
  };
}

interface TableRow extends Record<string, unknown> {
  readonly post: string;
  readonly epoch: string;
  readonly v: string;
  readonly likes: string;
  readonly views: string;
}

/** Text of each row: `post epoch.v likes views`, in the order of posts. */
export async function readTable(database: TestDatabase, schema = 'public'): Promise<string[]> {
  const rows = await database.sql<TableRow>(`SELECT * FROM "${schema}".tallycast_counts ORDER BY post`);
  return rows.map(({ post, epoch, v, likes, views }) => `${post} ${epoch}.${v} ${likes} ${views}`);
}

export async function readDead(database: TestDatabase): Promise<string[]> {
  const rows = await database.sql<Record<'post' | 'sqlstate' | 'v' | 'tries', string>>(
    'SELECT post, sqlstate, v, tries FROM tallycast_dead ORDER BY post',
  );
  return rows.map(({ post, sqlstate, v, tries }) => `${post} ${v} ${sqlstate} ${tries}`);
}

/** A member as the store has it, and as the table has it. */
export function member(post: string, actor: bigint | number, on = true, metric = 0): MemberState {
  return { post, metric, actor: fromInt64(BigInt(actor)), on };
}

/** Text of each member: `post metric actor`, in the order of keys. */
export async function readMembers(database: TestDatabase): Promise<string[]> {
  const rows = await database.sql<Record<'text', string>>(
    "SELECT concat_ws(' ', post, metric, actor) AS text FROM tallycast_members ORDER BY post, metric, actor",
  );
  return rows.map(({ text }) => text);
}
