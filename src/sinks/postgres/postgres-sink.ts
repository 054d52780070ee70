import { NOT_SYNCED } from '../../counters/changed-posts.js';
import type { AuditedRow, AuditedSink, BucketSums } from '../audited-sink.js';
import type { BucketWrite, SinkOptions, SinkPosition } from '../sink.js';
import { AuditStatements } from './audit-statements.js';
import { type CountRow, CountStatements, newestRows, type StoredCounts } from './count-statements.js';
import { DeadRows, type RejectedRow } from './dead-rows.js';
import { MemberStatements } from './member-statements.js';
import { MilestoneTable } from './milestone-table.js';
import { MemberWrites, type SyncTurns } from './member-writes.js';
import { addGeneration, nextTurn, PositionStatements, splitEpoch } from './position-statements.js';
import { PostgresConnection, type Query, RollBack } from './postgres-connection.js';
import { toSinkError } from './postgres-errors.js';
import { checkMetricNames, PostgresTables } from './postgres-tables.js';
import { parsePostgresUrl, type PostgresTarget } from './postgres-url.js';
import { SourceStatements } from './source-statements.js';
import { StoredMembers } from './stored-members.js';

/** Rows of posts that the store has lost, written at once. */
const LOST_ROWS_MAX = 1_000;

/** The tables as a gateway knows them, until another gateway writes or a write fails. */
interface TablesState {
  readonly generation: number;
  /** As they were when they were read. */
  readonly positions: ReadonlyMap<number, SinkPosition>;
  readonly turns: Map<number, number>;
  /** Posts whose newest row was rejected. */
  readonly dead: Set<string>;
  readonly syncTurns: SyncTurns;
  hasMilestones: boolean;
}

/**
 * Copies the counts to tables of a PostgreSQL database. Rows and positions are written in one transaction, so that they cannot differ
 * whatever fails. A post has one row with its newest counts, and an older state never replaces it.
 */
export class PostgresSink implements AuditedSink {
  readonly name: string;
  readonly keepsPositions = true;
  readonly keepsMembers: boolean;
  readonly members: StoredMembers;
  readonly milestones: MilestoneTable;
  readonly #target: PostgresTarget;
  readonly #connection: PostgresConnection;
  readonly #tables: PostgresTables;
  readonly #source: SourceStatements;
  readonly #positions: PositionStatements;
  readonly #counts: CountStatements;
  readonly #dead: DeadRows;
  readonly #memberWrites: MemberWrites;
  readonly #audits: AuditStatements;
  readonly #noTotals: readonly number[];
  readonly #warn: (message: string) => void;
  /** `null`: to be read. */
  #state: TablesState | null = null;
  #deadCount = 0;

  /** @throws Error if the URL or the name of a metric is wrong */
  constructor({ url, region, buckets, metrics, sinkMembers, clock, warn }: SinkOptions) {
    checkMetricNames(metrics);
    this.#target = parsePostgresUrl(url);
    this.name = this.#target.name;
    this.keepsMembers = sinkMembers;
    this.#connection = new PostgresConnection(this.#target, clock);
    this.#tables = new PostgresTables({ ...this.#target, region, buckets, metrics, sinkMembers });
    this.#source = new SourceStatements(this.#tables, this.#target);
    this.#positions = new PositionStatements(this.#tables);
    this.#counts = new CountStatements(this.#tables);
    this.#dead = new DeadRows(this.#tables, this.#counts);
    this.#memberWrites = new MemberWrites(new MemberStatements(this.#tables, metrics), buckets);
    const transact = <T>(work: (query: Query) => Promise<T>): Promise<T> =>
      this.#reporting(() => this.#connection.transact(work));
    this.members = new StoredMembers(this.#tables, metrics, transact);
    this.milestones = new MilestoneTable(this.#tables, metrics, transact);
    this.#audits = new AuditStatements(this.#tables);
    this.#noTotals = metrics.list.map(() => 0);
    this.#warn = warn;
  }

  /** Posts whose newest row the database rejected, as far as this gateway knows. */
  get deadCount(): number {
    return this.#deadCount;
  }

  get rejections(): number {
    return this.#dead.rejections;
  }

  /** The statements that make the tables, for operators whose gateway may not make them. */
  get schemaSql(): string {
    const { user } = this.#target;
    const grants = [...this.#tables.grants(user), this.#tables.grantMilestones(user)];
    return ['BEGIN', ...this.#tables.create(), ...grants, 'COMMIT', ''].join(';\n');
  }

  /** Makes the tables if there are none. */
  async readPositions(): Promise<ReadonlyMap<number, SinkPosition>> {
    this.#state = null;
    this.#state = await this.#reporting(() => this.#readState());
    this.#deadCount = this.#state.dead.size;
    return this.#state.positions;
  }

  async write(writes: readonly BucketWrite[]): Promise<boolean> {
    const state = this.#state;
    if (state === null) return false;
    this.#state = null;
    if (!(await this.#reporting(() => this.#writeAll(state, writes)))) return false;
    this.#state = state;
    return true;
  }

  /**
   * Makes the tables follow the store, whatever they hold: every bucket gets a full sync, and all rows until now are older than its.
   * For when an operator has decided that the store is right.
   */
  async adopt(): Promise<void> {
    await this.#change(async (query) => {
      await this.#positions.forgetAll(query);
      await this.#source.raiseGeneration(query);
    });
  }

  /** Sends posts with rejected rows again, with all others of their buckets. @returns how many were rejected */
  async retryDead(): Promise<number> {
    return await this.#change(async (query) => {
      const buckets = await this.#dead.readBuckets(query);
      await this.#positions.rewind(query, [...new Set(buckets)]);
      return buckets.length;
    });
  }

  /** Rows after a post, in the order of posts. The tables must exist. */
  async readRows(after: string, limit: number): Promise<StoredCounts[]> {
    const rows = await this.#reporting(() =>
      this.#connection.transact((query) => this.#counts.read(query, after, limit)),
    );
    return rows.map(({ post, v, updatedAtMs, totals, epoch }) => ({
      post,
      v,
      updatedAtMs,
      totals,
      ...splitEpoch(epoch),
    }));
  }

  /** Rows from before the tables were adopted are left out. */
  async readCounts(posts: readonly string[]): Promise<ReadonlyMap<string, AuditedRow>> {
    return await this.#reporting(() =>
      this.#connection.transact(async (query) => {
        const { generation: current } = await this.#source.read(query);
        const rows = await this.#counts.readNamed(query, posts);
        return new Map(
          rows.flatMap(({ post, v, totals, epoch: stored }) => {
            const { generation, epoch } = splitEpoch(stored);
            return generation === current ? [[post, { epoch, v, totals }] as const] : [];
          }),
        );
      }),
    );
  }

  findDead(posts: readonly string[]): Promise<ReadonlySet<string>> {
    return this.#reporting(() => this.#connection.transact((query) => this.#dead.readNamed(query, posts)));
  }

  readSums(bucket: number): Promise<BucketSums> {
    return this.#reporting(() => this.#connection.transact((query) => this.#audits.readSums(query, bucket)));
  }

  keepBase(bucket: number, turn: number, base: readonly number[]): Promise<void> {
    return this.#reporting(() =>
      this.#connection.transact((query) => this.#audits.keepBase(query, bucket, turn, base)),
    );
  }

  async syncAgain(buckets: readonly number[]): Promise<void> {
    await this.#change((query) => this.#positions.rewind(query, buckets));
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #readState(): Promise<TablesState> {
    await this.#source.prepare(this.#connection);
    return await this.#connection.transact(async (query) => {
      // All of one instant. With the generation before an adoption, and the turns after it, rows of the old generation would be written.
      await query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
      const { generation, hasMilestones } = await this.#source.read(query);
      const { positions, turns } = await this.#positions.read(query, generation);
      const dead = await this.#dead.readPosts(query);
      return { generation, positions, turns, dead, syncTurns: new Map(), hasMilestones };
    });
  }

  async #writeAll(state: TablesState, writes: readonly BucketWrite[]): Promise<boolean> {
    const prepared = writes.map((write) => ({ ...write, epoch: addGeneration(state.generation, write.epoch) }));
    const rows = newestRows(prepared);
    if (!state.hasMilestones && writes.some(({ milestones }) => milestones.length > 0)) {
      await this.#source.addMilestones(this.#connection);
      state.hasMilestones = true;
    }
    for (const write of prepared) {
      if (write.endsFullSync && !(await this.#clearLost(state, write, rows))) return false;
    }
    return await this.#commit(state, prepared, [...rows.values()]);
  }

  /**
   * At the end of a full sync: zeroes posts whose rows are of an earlier epoch still, because the store does not have them any more.
   * After an emptied store was adopted that is all of them, so they are written page by page, before the write that ends the full sync.
   */
  async #clearLost(state: TablesState, write: BucketWrite, rows: ReadonlyMap<string, CountRow>): Promise<boolean> {
    const { bucket, epoch } = write;
    for (let after: string | undefined = ''; after !== undefined;) {
      const from: string = after;
      const lost = await this.#connection.transact((query) =>
        this.#counts.readLost(query, bucket, from, epoch, LOST_ROWS_MAX),
      );
      const zeroes = lost
        .filter((post) => !rows.has(post))
        .map((post) => ({ post, bucket, epoch, v: 0, updatedAtMs: null, totals: this.#noTotals }));
      const position = { ...write.position, upTo: NOT_SYNCED };
      const nothingElse = { members: [], milestones: [], postsWithAllMembers: [] };
      const within = { ...write, ...nothingElse, position, sums: null, endsFullSync: false };
      if (zeroes.length > 0 && !(await this.#commit(state, [within], zeroes, zeroes))) return false;
      after = lost.at(LOST_ROWS_MAX - 1);
    }
    return true;
  }

  /**
   * @param lost rows of posts that the store does not have any more
   * @returns false: another gateway has written
   */
  async #commit(
    state: TablesState,
    writes: readonly BucketWrite[],
    rows: readonly CountRow[],
    lost: readonly CountRow[] = [],
  ): Promise<boolean> {
    const turns = writes.map((write) => nextTurn(state.turns, write));
    const synced = state.dead.size === 0 ? [] : writes.filter(({ endsFullSync }) => endsFullSync);
    try {
      const { forgotten, rejected } = await this.#connection.transact(async (query) => {
        if (!(await this.#positions.advance(query, state.generation, turns))) throw new RollBack();
        const forgotten = synced.length === 0 ? [] : await this.#dead.forgetLost(query, synced);
        const rejected = await this.#dead.writeAccepted(query, rows, state.dead);
        await this.milestones.write(query, writes);
        if (this.keepsMembers) {
          const gone = [...forgotten, ...lost.map(({ post }) => post)];
          await this.#memberWrites.write(query, writes, turns, state.syncTurns, gone);
        }
        return { forgotten, rejected };
      });
      for (const { bucket, turn } of turns) state.turns.set(bucket, turn);
      this.#noteDead(state.dead, [...forgotten, ...rows.map(({ post }) => post)], rejected);
      return true;
    } catch (error) {
      if (error instanceof RollBack) return false;
      throw error;
    }
  }

  /** @param alive posts that are dead no more, unless they are rejected */
  #noteDead(dead: Set<string>, alive: readonly string[], rejected: readonly RejectedRow[]): void {
    const added = rejected.filter(({ row }) => !dead.has(row.post));
    if (dead.size > 0) for (const post of alive) dead.delete(post);
    for (const { row } of rejected) dead.add(row.post);
    this.#deadCount = dead.size;
    const [first] = added;
    if (first === undefined) return;
    this.#warn(
      `${this.name}: ${added.length} rows were rejected, such as that of post ${first.row.post}: ${first.reason}. They are in ` +
        'tallycast_dead until the posts change, or until tallycast sink retry',
    );
  }

  async #change<T>(change: (query: Query) => Promise<T>): Promise<T> {
    return await this.#reporting(async () => {
      await this.#source.prepare(this.#connection);
      return await this.#connection.transact(async (query) => {
        await this.#positions.lock(query);
        return await change(query);
      });
    });
  }

  /** @throws SinkError instead of other errors */
  async #reporting<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toSinkError(error, this.#target, this.#tables);
    }
  }
}
