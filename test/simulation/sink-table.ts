import { type CopyPosition, moveSum, NOT_SYNCED } from '../../src/counters/changed-posts.js';
import type { PostMilestone } from '../../src/counters/milestones.js';
import { type BucketWrite, type Sink, SinkError, type SinkPosition } from '../../src/sinks/sink.js';
import { MEMBER_RULES, type MemberRules, removeMembers, type TableMember, writeMembers } from './sink-members.js';
import { type MilestoneTable, writeMilestones } from './sink-milestones.js';
import type { UnreliableCall } from './unreliable-call.js';

/** Rules of the transaction. Tests plant others. */
export interface TableRules {
  /** Whether a write needs the turn that its gateway has read. */
  readonly checksTurn: boolean;
  /** Whether a row is left alone if it has a higher (epoch, v). */
  readonly checksVersion: boolean;
  /** Whether rows of earlier epochs are zeroed when a full sync ends. */
  readonly zeroesLostPosts: boolean;
  /** Whether a row with the same v and the same counts gets the new epoch. */
  readonly renewsEpoch: boolean;
  /** Whether the position of before stays during a full sync. */
  readonly keepsPosition: boolean;
  readonly order: 'one transaction' | 'rows first' | 'position first';
  readonly members: MemberRules;
}

export const TABLE_RULES: TableRules = {
  checksTurn: true,
  checksVersion: true,
  zeroesLostPosts: true,
  renewsEpoch: true,
  keepsPosition: false,
  order: 'one transaction',
  members: MEMBER_RULES,
};

export interface TableRow {
  readonly bucket: number;
  readonly epoch: number;
  readonly v: number;
  readonly totals: readonly number[];
}

export interface TableBucket {
  /** Another one with each transaction. */
  readonly turn: number;
  readonly position: CopyPosition | null;
  readonly sums: readonly number[] | null;
  /** The sum of the rows minus `sums`. */
  readonly base: readonly number[] | null;
  /** The turn of the transaction in which the last full sync began; `null`: it has ended. */
  readonly syncTurn: number | null;
}

interface TableState {
  readonly generation: number;
  readonly keepsMembers: boolean;
  readonly buckets: ReadonlyMap<number, TableBucket>;
  readonly rows: ReadonlyMap<string, TableRow>;
  readonly members: ReadonlyMap<string, TableMember>;
  readonly milestones: MilestoneTable;
}

/** The part of it that a transaction changes. */
interface TableChanges {
  readonly buckets: Map<number, TableBucket>;
  readonly rows: Map<string, TableRow>;
  readonly members: Map<string, TableMember>;
  readonly milestones: Map<string, PostMilestone>;
}

const NEW_BUCKET: TableBucket = { turn: 0, position: null, sums: null, base: null, syncTurn: null };
const NEW_TABLE: TableState = {
  generation: 0,
  keepsMembers: false,
  buckets: new Map(),
  rows: new Map(),
  members: new Map(),
  milestones: new Map(),
};
/** Transactions that may be lost. */
const HISTORY_MAX = 20;

/** Tables in memory, which do what a transaction of the PostgreSQL sink does. */
export class SinkTable {
  #history: TableState[] = [NEW_TABLE];
  #turns = 0;

  constructor(private readonly buckets: number) {}

  /** The first row that fell in (epoch, v). */
  fallenRow = '';
  /** Called after each transaction. */
  committed: () => void = () => undefined;

  get state(): TableState {
    return this.#history.at(-1)!;
  }

  bucket(bucket: number): TableBucket {
    return this.state.buckets.get(bucket) ?? NEW_BUCKET;
  }

  rowsOf(bucket: number): [string, TableRow][] {
    return [...this.state.rows].filter(([, row]) => row.bucket === bucket);
  }

  membersOf(bucket: number): string[] {
    return [...this.state.members].flatMap(([key, member]) => (member.bucket === bucket ? [key] : []));
  }

  /** @returns whether the transaction was committed */
  transact(change: (changes: TableChanges) => boolean): boolean {
    const { state } = this;
    const { buckets, rows, members, milestones } = state;
    const changes = {
      ...{ buckets: new Map(buckets), rows: new Map(rows) },
      ...{ members: new Map(members), milestones: new Map(milestones) },
    };
    if (!change(changes)) return false;
    for (const [post, { epoch, v }] of state.rows) {
      const after = changes.rows.get(post)!;
      if (isBelow(after, { epoch, v })) this.fallenRow = `${post} fell from ${epoch}/${v} to ${after.epoch}/${after.v}`;
    }
    this.#commit({ ...state, ...changes });
    return true;
  }

  /** Never repeated, even if transactions are lost. */
  nextTurn(): number {
    this.#turns += 1;
    return this.#turns;
  }

  /** The last transactions are gone, as after a failover. */
  loseTransactions(count: number): void {
    const left = Math.max(this.#history.length - count, 1);
    this.#history = this.#history.slice(0, left);
  }

  adopt(): void {
    const { state } = this;
    this.#commit({ ...state, generation: state.generation + 1, buckets: this.#mapBuckets(() => NEW_BUCKET) });
  }

  /** Keeps members from now on. All turns are over, so that no gateway without members writes any more, and all positions are void. */
  keepMembers(): void {
    const buckets = this.#mapBuckets(({ position }) => {
      return { ...NEW_BUCKET, position: position && { ...position, upTo: NOT_SYNCED } };
    });
    this.#commit({ ...this.state, keepsMembers: true, buckets });
  }

  /** All turns are over. */
  #mapBuckets(change: (before: TableBucket) => TableBucket): Map<number, TableBucket> {
    const numbers = Array.from({ length: this.buckets }, (_, bucket) => bucket);
    return new Map(numbers.map((bucket) => [bucket, { ...change(this.bucket(bucket)), turn: this.nextTurn() }]));
  }

  #commit(state: TableState): void {
    this.#history = [...this.#history, state].slice(-HISTORY_MAX);
    this.committed();
  }
}

/** The table as one gateway writes it. */
export class TableSink implements Sink {
  readonly name = 'table';
  readonly keepsPositions = true;
  #turns = new Map<number, number>();
  #generation = 0;

  constructor(
    private readonly table: SinkTable,
    private readonly rules: TableRules,
    private readonly call: UnreliableCall,
    readonly keepsMembers: boolean,
  ) {}

  readPositions(): Promise<ReadonlyMap<number, SinkPosition>> {
    return this.call(() => {
      if (this.table.state.keepsMembers && !this.keepsMembers) throw new SinkError('the table has members', true);
      if (this.keepsMembers && !this.table.state.keepsMembers) this.table.keepMembers();
      const { generation, buckets } = this.table.state;
      this.#generation = generation;
      this.#turns = new Map([...buckets].map(([bucket, { turn }]) => [bucket, turn]));
      const positions = [...buckets].flatMap(([bucket, { position, sums }]): [number, SinkPosition][] =>
        position === null ? [] : [[bucket, { ...position, isComplete: sums !== null }]],
      );
      return new Map(positions);
    });
  }

  async write(writes: readonly BucketWrite[]): Promise<boolean> {
    if (new Set(writes.map(({ bucket }) => bucket)).size < writes.length) throw new Error('two writes of one bucket');
    if (!this.keepsMembers && writes.some(({ members }) => members.length > 0)) throw new Error('unwanted members');
    switch (this.rules.order) {
      case 'one transaction':
        return this.#transact(writes, true, true);
      case 'rows first':
        return (await this.#transact(writes, true, false)) && (await this.#transact(writes, false, true));
      case 'position first':
        return (await this.#transact(writes, false, true)) && (await this.#transact(writes, true, false));
    }
  }

  adopt(): Promise<void> {
    return this.call(() => this.table.adopt());
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #transact(writes: readonly BucketWrite[], withRows: boolean, withPositions: boolean): Promise<boolean> {
    return this.call(() => {
      const turns = new Map(writes.map(({ bucket }) => [bucket, this.table.nextTurn()]));
      const isCommitted = this.table.transact((changes) => {
        if (withPositions && this.rules.checksTurn && !writes.every(({ bucket }) => this.#isMyTurn(bucket)))
          return false;
        for (const write of writes) {
          const turn = turns.get(write.bucket)!;
          if (withRows) this.#writeRows(changes, write, turn);
          if (withPositions) this.#writePosition(changes, write, turn);
        }
        return true;
      });
      if (isCommitted && withPositions) for (const [bucket, turn] of turns) this.#turns.set(bucket, turn);
      return isCommitted;
    });
  }

  #isMyTurn(bucket: number): boolean {
    return this.table.bucket(bucket).turn === (this.#turns.get(bucket) ?? NEW_BUCKET.turn);
  }

  #writeRows({ rows, members, milestones, buckets }: TableChanges, write: BucketWrite, turn: number): void {
    writeMilestones(milestones, write.milestones);
    const { checksVersion, renewsEpoch, zeroesLostPosts } = this.rules;
    const { bucket, posts, endsFullSync } = write;
    const epoch = this.#generation * 2 ** 32 + write.epoch;
    const turns = { current: turn, first: this.#syncTurn(buckets, write, turn) };
    if (this.keepsMembers) writeMembers(members, write, turns, this.rules.members);
    for (const { post, v, totals } of posts) {
      const row = rows.get(post);
      const isSame = row?.v === v && isEqual(row.totals, totals);
      if (row !== undefined && checksVersion && isBelow({ epoch, v }, row)) continue;
      if (!isSame || renewsEpoch) rows.set(post, { bucket, epoch, v, totals });
    }
    if (!endsFullSync) return;
    const lost = [...rows].filter(([, row]) => row.bucket === bucket && row.epoch < epoch);
    if (this.rules.members.clearsLostPosts)
      removeMembers(
        members,
        lost.map(([post]) => post),
        Infinity,
      );
    if (!zeroesLostPosts) return;
    for (const [post, row] of lost) rows.set(post, { bucket, epoch, v: 0, totals: row.totals.map(() => 0) });
  }

  #syncTurn(buckets: ReadonlyMap<number, TableBucket>, { bucket, startsFullSync }: BucketWrite, turn: number): number {
    const syncTurn = buckets.get(bucket)?.syncTurn ?? turn;
    return startsFullSync && this.rules.members.renewsFirstTurn ? turn : syncTurn;
  }

  #writePosition({ rows, buckets }: TableChanges, write: BucketWrite, turn: number): void {
    const { bucket, position, sums, endsFullSync } = write;
    const before = buckets.get(bucket) ?? NEW_BUCKET;
    const isKept = this.rules.keepsPosition && position.upTo === 0;
    const base = endsFullSync && sums !== null ? findBase(rows, bucket, sums) : before.base;
    const syncTurn = position.upTo === NOT_SYNCED ? this.#syncTurn(buckets, write, turn) : null;
    buckets.set(bucket, { turn, position: isKept ? before.position : position, sums, base, syncTurn });
  }
}

/** The sum of a bucket's rows, by metric index. */
export function sumRows(rows: ReadonlyMap<string, TableRow>, bucket: number, metricCount: number): number[] {
  const sums = new Array<number>(metricCount).fill(0);
  for (const { bucket: one, totals } of rows.values()) {
    if (one === bucket) for (const [i, total] of totals.entries()) sums[i] = moveSum(sums[i]!, total);
  }
  return sums;
}

export function downError(): SinkError {
  return new SinkError('the table is down', false);
}

function findBase(rows: ReadonlyMap<string, TableRow>, bucket: number, sums: readonly number[]): number[] {
  return sumRows(rows, bucket, sums.length).map((sum, i) => moveSum(sum, -sums[i]!));
}

function isBelow(row: Pick<TableRow, 'epoch' | 'v'>, other: Pick<TableRow, 'epoch' | 'v'>): boolean {
  return row.epoch < other.epoch || (row.epoch === other.epoch && row.v < other.v);
}

function isEqual(totals: readonly number[], others: readonly number[]): boolean {
  return totals.every((total, i) => total === others[i]);
}
