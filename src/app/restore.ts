import { systemClock } from '../common/clock.js';
import type { Settings } from '../config/settings.js';
import { isPostgres } from '../config/sink-url-list.js';
import { NOT_SYNCED } from '../counters/changed-posts.js';
import { fromInt64 } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import type { SinkMember } from '../sinks/audit-members.js';
import type { SinkMilestone } from '../sinks/postgres/milestone-table.js';
import { PostgresSink } from '../sinks/postgres/postgres-sink.js';
import { CountsRestore } from '../sinks/restore-counts.js';
import { openRedis, openStore } from './open-store.js';
import { random64 } from './random64.js';

/** Rows, and members, that are read at once. */
const PAGE_ROWS = 5_000;
/** Milestones that are read, and restored, at once. */
const PAGE_MILESTONES = 500;
/** Records that a sink has are final, whatever the clock of the new store is. */
const RESTORED_MS = 0;
/** Posts between two lines of progress. */
const PROGRESS_POSTS = 100_000;

type Print = (line: string) => void;

/**
 * Restores an empty store, that of REDIS_URL or DATA_DIR, from the PostgreSQL sink of SINK_URL, which then follows the store. No
 * gateway may use either meanwhile.
 *
 * Cost: some 100,000 counts and members a second.
 * @param print gets lines of JSON: progress, and a summary
 * @throws Error with one line
 */
export async function restore(settings: Settings, print: Print): Promise<void> {
  const url = settings.sinkUrls.find(isPostgres);
  if (url === undefined) throw new Error('restore needs SINK_URL=postgres://…: the database that has the counts');
  if (settings.peers.length > 0) {
    throw new Error(
      'restore: the rows are sums over all regions, and PEERS is set: start the empty gateway, and its peers give it back what it had',
    );
  }
  const clock = systemClock;
  const warn = (message: string): void => print(JSON.stringify({ warning: message }));
  // Checks the URL, too, and connects to nothing yet.
  const sink = new PostgresSink({ ...settings, url, clock, warn });
  const connections = await openRedis(settings, clock, warn);
  const store = await openStore(settings, connections, clock, clock, warn);
  const counts = new CountsRestore(store, { ...settings, producerId: random64(), clock });
  try {
    await counts.requireEmpty();
    // Checks that the rows are those of this region, with these buckets and metrics.
    const positions = await sink.readPositions();
    if ([...positions.values()].some(({ upTo }) => upTo === NOT_SYNCED)) {
      warn('a full sync of the sink had not ended: it may lack posts, and members come back as anonymous counts');
    }
    await restoreAll(sink, counts, settings.metrics, print);
    await restoreMilestones(sink, counts, settings.metrics);
    await sink.adopt();
    const { posts, members, milestones } = counts;
    const more = { ...(sink.keepsMembers && { members }), ...(milestones > 0 && { milestones }) };
    print(JSON.stringify({ done: true, posts, ...more }));
  } finally {
    await counts.idle();
    await sink.close();
    await store.close();
  }
}

/** Reads posts and members in the same order, so that both are read once. */
async function restoreAll(sink: PostgresSink, counts: CountsRestore, metrics: Metrics, print: Print): Promise<void> {
  const members = new RestoredMembers(sink, counts, metrics);
  const few: string[] = [];
  for (let after: string | undefined = ''; after !== undefined;) {
    const rows = await sink.readRows(after, PAGE_ROWS);
    for (const row of rows) {
      await members.addUpTo(row.post);
      few.push(...counts.addPost(row).map((metric) => `${metric} of ${row.post}`));
      if (counts.posts % PROGRESS_POSTS === 0) print(JSON.stringify({ posts: counts.posts }));
    }
    await counts.ready();
    after = rows.at(PAGE_ROWS - 1)?.post;
  }
  // The rows of their posts were rejected.
  await members.addUpTo(null);
  await counts.finish();
  if (few.length === 0) return;
  const warning = `${few.length} counts, such as ${few[0]!}, were below the number of members: the members were restored`;
  print(JSON.stringify({ warning }));
}

/** @throws Error for a row that Tallycast has not written */
async function restoreMilestones(sink: PostgresSink, counts: CountsRestore, metrics: Metrics): Promise<void> {
  for (let after: SinkMilestone | null | undefined = null; after !== undefined;) {
    const rows: SinkMilestone[] = await sink.milestones.readAll(after, PAGE_MILESTONES);
    const records = rows.map(({ metric: name, ...record }) => {
      const metric = metrics.byName(name)?.index;
      // Sinks have final records only, of whichever region.
      if (metric !== undefined) return { ...record, metric, recordedAtMs: RESTORED_MS, isFinal: true as const };
      throw new Error(
        `tallycast_milestones has one of "${name}" of post ${record.post}, which is not in METRICS: delete such rows, empty the store, ` +
          'and restore again',
      );
    });
    if (records.length > 0) await counts.addMilestones(records);
    after = rows.at(PAGE_MILESTONES - 1);
  }
}

/** Members of a sink that are restored in the order of posts. */
class RestoredMembers {
  #page: readonly SinkMember[] = [];
  #index = 0;
  #isRead: boolean;

  constructor(
    private readonly sink: PostgresSink,
    private readonly counts: CountsRestore,
    private readonly metrics: Metrics,
  ) {
    this.#isRead = !sink.keepsMembers;
  }

  /**
   * Adds the members of all posts up to one.
   * @param last `null`: of all others
   * @throws Error for a row that Tallycast has not written
   */
  async addUpTo(last: string | null): Promise<void> {
    for (;;) {
      for (; this.#index < this.#page.length; this.#index++) {
        const member = this.#page[this.#index]!;
        if (last !== null && member.post > last) return;
        this.#add(member);
      }
      if (this.#isRead) return;
      await this.counts.ready();
      this.#page = await this.sink.members.readAll(this.#page.at(-1) ?? null, PAGE_ROWS);
      this.#index = 0;
      this.#isRead = this.#page.length < PAGE_ROWS;
    }
  }

  #add({ post, metric: name, actor }: SinkMember): void {
    const metric = this.metrics.byName(name);
    if (metric?.kind.hasMembers !== true) {
      throw new Error(
        `tallycast_members has a member of "${name}" of post ${post}, which is no toggle of METRICS: delete such rows, empty the store, ` +
          'and restore again',
      );
    }
    this.counts.addMember({ post, metric: metric.index, actor: fromInt64(actor) });
  }
}
