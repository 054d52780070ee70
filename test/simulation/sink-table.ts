import { type CopyPosition, moveSum } from '../../src/counters/changed-posts.js';
import { type BucketWrite, type Sink, SinkError, type SinkPosition } from '../../src/sinks/sink.js';
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
}

export const TABLE_RULES: TableRules = {
  checksTurn: true,
  checksVersion: true,
  zeroesLostPosts: true,
  renewsEpoch: true,
  keepsPosition: false,
  order: 'one transaction',
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
}

interface TableState {
  readonly generation: number;
  readonly buckets: ReadonlyMap<number, TableBucket>;
  readonly rows: ReadonlyMap<string, TableRow>;
}

const NEW_BUCKET: TableBucket = { turn: 0, position: null, sums: null, base: null };
/** Transactions that may be lost. */
const HISTORY_MAX = 20;

/** Tables in memory, which do what a transaction of the PostgreSQL sink does. */
export class SinkTable {
  #history: TableState[] = [{ generation: 0, buckets: new Map(), rows: new Map() }];
  #turns = 0;
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

  /** @returns whether the transaction was committed */
  transact(change: (rows: Map<string, TableRow>, buckets: Map<number, TableBucket>) => boolean): boolean {
    const { state } = this;
    const rows = new Map(state.rows);
    const buckets = new Map(state.buckets);
    if (!change(rows, buckets)) return false;
    for (const [post, { epoch, v }] of state.rows) {
      const after = rows.get(post)!;
      if (isBelow(after, { epoch, v })) this.fallenRow = `${post} fell from ${epoch}/${v} to ${after.epoch}/${after.v}`;
    }
    this.#commit({ ...state, rows, buckets });
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
    const { generation, rows, buckets } = this.state;
    const voided = [...buckets.keys()].map((bucket) => [bucket, { ...NEW_BUCKET, turn: this.nextTurn() }] as const);
    this.#commit({ generation: generation + 1, rows, buckets: new Map(voided) });
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
  readonly keepsMembers = false;
  #turns = new Map<number, number>();
  #generation = 0;

  constructor(
    private readonly table: SinkTable,
    private readonly rules: TableRules,
    private readonly call: UnreliableCall,
  ) {}

  readPositions(): Promise<ReadonlyMap<number, SinkPosition>> {
    return this.call(() => {
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
      const isCommitted = this.table.transact((rows, buckets) => {
        if (withPositions && this.rules.checksTurn && !writes.every(({ bucket }) => this.#isMyTurn(bucket)))
          return false;
        for (const write of writes) {
          if (withRows) this.#writeRows(rows, write);
          if (withPositions) this.#writePosition(rows, buckets, write, turns.get(write.bucket)!);
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

  #writeRows(rows: Map<string, TableRow>, { bucket, epoch: ofStore, posts, endsFullSync }: BucketWrite): void {
    const { checksVersion, renewsEpoch, zeroesLostPosts } = this.rules;
    const epoch = this.#generation * 2 ** 32 + ofStore;
    for (const { post, v, totals } of posts) {
      const row = rows.get(post);
      const isSame = row?.v === v && isEqual(row.totals, totals);
      if (row !== undefined && checksVersion && isBelow({ epoch, v }, row)) continue;
      if (!isSame || renewsEpoch) rows.set(post, { bucket, epoch, v, totals });
    }
    if (!endsFullSync || !zeroesLostPosts) return;
    for (const [post, row] of rows) {
      if (row.bucket !== bucket || row.epoch >= epoch) continue;
      rows.set(post, { bucket, epoch, v: 0, totals: row.totals.map(() => 0) });
    }
  }

  #writePosition(
    rows: ReadonlyMap<string, TableRow>,
    buckets: Map<number, TableBucket>,
    { bucket, position, sums, endsFullSync }: BucketWrite,
    turn: number,
  ): void {
    const before = buckets.get(bucket) ?? NEW_BUCKET;
    const isKept = this.rules.keepsPosition && position.upTo === 0;
    const base = endsFullSync && sums !== null ? findBase(rows, bucket, sums) : before.base;
    buckets.set(bucket, { turn, position: isKept ? before.position : position, sums, base });
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
