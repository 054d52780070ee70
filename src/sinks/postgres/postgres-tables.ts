import type { Metric, Metrics } from '../../counters/metrics.js';
import { SinkError } from '../sink.js';
import { quoteName, quoteText } from './sql-text.js';

const TABLES = ['tallycast_source', 'tallycast_buckets', 'tallycast_counts', 'tallycast_dead'] as const;
/** There only if the tables keep members. */
const MEMBERS = 'tallycast_members';
/** Added to tables of earlier versions when the first milestone is written. */
const MILESTONES = 'tallycast_milestones';
type TableName = (typeof TABLES)[number] | typeof MEMBERS | typeof MILESTONES;

/** The version of these tables. A gateway does not write to those of a later one. */
const VERSION = 1;
/** Columns of tallycast_counts besides the metrics, and those that every table of PostgreSQL has. */
const COLUMNS: ReadonlySet<string> = new Set([
  ...['post', 'bucket', 'epoch', 'v', 'updated_at'],
  ...['tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid'],
]);

/** Whose counts the tables have: the row of tallycast_source, and which of the other tables there are. */
export interface Source {
  readonly schema: number;
  readonly region: string;
  readonly buckets: number;
  readonly metrics: string;
  /** How often the tables were adopted: it is the higher half of each epoch. */
  readonly generation: number;
  /** Whether there is a table of members. */
  readonly hasMembers: boolean;
  /** Whether there is a table of milestones. */
  readonly hasMilestones: boolean;
}

export interface TableOptions {
  readonly schema: string;
  readonly region: string;
  readonly buckets: number;
  readonly metrics: Metrics;
  /** SINK_MEMBERS */
  readonly sinkMembers: boolean;
}

/** @throws Error with one line for the operator */
export function checkMetricNames(metrics: Metrics): void {
  const taken = metrics.list.find(({ name }) => COLUMNS.has(name));
  if (taken === undefined) return;
  throw new Error(`METRICS has "${taken.name}", which is another column in PostgreSQL: give the metric another name`);
}

/** The SQL that makes and changes the tables. */
export class PostgresTables {
  constructor(private readonly options: TableOptions) {}

  /** All tables that a gateway needs, in SQL. */
  get names(): string {
    const names: TableName[] = [...TABLES];
    if (this.keepsMembers) names.push(MEMBERS);
    return names.map((table) => this.name(table)).join(', ');
  }

  /** The table's name in SQL. */
  name(table: TableName): string {
    return `${quoteName(this.options.schema)}.${table}`;
  }

  get keepsMembers(): boolean {
    return this.options.sinkMembers;
  }

  get metricColumns(): readonly string[] {
    return this.options.metrics.list.map(({ name }) => quoteName(name));
  }

  /**
   * Compares the tables with the settings.
   * @returns metrics that the tables do not have yet
   * @throws SinkError if the tables hold other counts than those of this gateway
   */
  findNewMetrics(source: Source): readonly Metric[] {
    const { region, buckets, metrics } = this.options;
    if (source.schema > VERSION) {
      throw misconfigured(
        `the tables are of version ${source.schema}, and this gateway writes ${VERSION}: update the gateway`,
      );
    }
    if (source.region !== region) {
      throw misconfigured(
        `the tables hold the counts of region ${source.region}, and this one is ${region}: name another database or ?schema= in SINK_URL ` +
          `(if it is the same region under a new name: UPDATE ${this.name('tallycast_source')} SET region = ${quoteText(region)})`,
      );
    }
    if (source.buckets !== buckets) {
      throw misconfigured(
        `the tables hold the counts of a store with ${source.buckets} buckets, and this one has ${buckets}: name another database or ` +
          '?schema= in SINK_URL',
      );
    }
    const known = source.metrics.split(',');
    const wanted = metrics.toString().split(',');
    if (!known.every((metric, index) => wanted[index] === metric)) {
      throw misconfigured(
        `the tables hold the metrics ${source.metrics}, and METRICS is ${metrics.toString()}: new metrics may follow these, and all ` +
          `gateways must have the same${this.#adviseOnUndo(known, wanted)}`,
      );
    }
    return metrics.list.slice(known.length);
  }

  /**
   * @returns whether the table of members is to be made
   * @throws SinkError if there is one that this gateway would not write
   */
  lacksMembers({ hasMembers }: Source): boolean {
    if (hasMembers && !this.keepsMembers) {
      throw misconfigured(
        `the tables have members, which would not be those of the store any more, because SINK_MEMBERS is false: set SINK_MEMBERS=true ` +
          `on all gateways, or DROP TABLE ${this.name(MEMBERS)}`,
      );
    }
    return this.keepsMembers && !hasMembers;
  }

  /** A gateway of another deployment adds its metrics before it finds that the counts are not those of its store. */
  #adviseOnUndo(known: readonly string[], wanted: readonly string[]): string {
    if (!wanted.every((metric, index) => known[index] === metric)) return '';
    const update = `UPDATE ${this.name('tallycast_source')} SET metrics = ${quoteText(wanted.join(','))}`;
    return ` (if another deployment has added the others: take this SINK_URL from it, and ${update})`;
  }

  /** Makes the tables, with a position for every bucket, so that voiding all positions leaves none out. */
  create(): string[] {
    const { region, buckets, metrics } = this.options;
    const columns = this.metricColumns.map((column) => `  ${column} bigint NOT NULL DEFAULT 0`);
    return [
      `CREATE TABLE ${this.name('tallycast_source')} (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  schema integer NOT NULL,
  region text NOT NULL,
  buckets integer NOT NULL,
  metrics text NOT NULL,
  generation integer NOT NULL
)`,
      `CREATE TABLE ${this.name('tallycast_buckets')} (
  bucket integer PRIMARY KEY,
  turn bigint NOT NULL,
  epoch bigint NOT NULL,
  nonce bigint NOT NULL,
  up_to bigint NOT NULL,
  changed_at timestamptz NOT NULL,
  sums bigint[],
  base bigint[],
  written_at timestamptz NOT NULL DEFAULT now()
)`,
      `CREATE TABLE ${this.name('tallycast_counts')} (
  post text COLLATE "C" PRIMARY KEY,
  bucket integer NOT NULL,
  epoch bigint NOT NULL,
  v bigint NOT NULL,
  updated_at timestamptz,
${columns.join(',\n')}
) WITH (fillfactor = 80)`,
      `CREATE INDEX tallycast_counts_bucket ON ${this.name('tallycast_counts')} (bucket, post)`,
      `CREATE TABLE ${this.name('tallycast_dead')} (
  post text COLLATE "C" PRIMARY KEY,
  bucket integer NOT NULL,
  epoch bigint NOT NULL,
  v bigint NOT NULL,
  sqlstate text NOT NULL,
  reason text NOT NULL,
  tries integer NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
)`,
      `INSERT INTO ${this.name('tallycast_source')} (schema, region, buckets, metrics, generation)
  VALUES (${VERSION}, ${quoteText(region)}, ${buckets}, ${quoteText(metrics.toString())}, 0)`,
      `INSERT INTO ${this.name('tallycast_buckets')} (bucket, turn, epoch, nonce, up_to, changed_at)
  SELECT bucket, 0, 0, 0, 0, to_timestamp(0) FROM generate_series(0, ${buckets - 1}) AS t(bucket)`,
      this.createMilestones(),
      ...(this.keepsMembers ? this.#createMembers() : []),
    ];
  }

  /** Rows of tables that somebody has dropped stay there, because they never change. */
  createMilestones(): string {
    return `CREATE TABLE IF NOT EXISTS ${this.name(MILESTONES)} (
  post text COLLATE "C" NOT NULL,
  metric text COLLATE "C" NOT NULL,
  n bigint NOT NULL,
  v bigint NOT NULL,
  region text NOT NULL,
  epoch bigint NOT NULL,
  actor bigint,
  session bigint,
  seq bigint NOT NULL,
  kind text NOT NULL,
  value bigint NOT NULL,
  total bigint NOT NULL,
  reached_at timestamptz NOT NULL,
  missed boolean NOT NULL DEFAULT false,
  PRIMARY KEY (post, metric, n)
)`;
  }

  /** Makes the table of members beside tables that have counts already. All posts are sent again, because that brings their members. */
  addMembers(): string[] {
    return [this.lockBuckets(), ...this.#createMembers(), this.#voidPositions()];
  }

  /** In the order of bytes, which is that of JavaScript, too. */
  #createMembers(): string[] {
    return [
      `CREATE TABLE ${this.name(MEMBERS)} (
  post text COLLATE "C" NOT NULL,
  metric text COLLATE "C" NOT NULL,
  actor bigint NOT NULL,
  turn bigint NOT NULL,
  PRIMARY KEY (post, metric, actor)
)`,
      `CREATE INDEX tallycast_members_actor ON ${this.name(MEMBERS)} (actor)`,
    ];
  }

  #voidPositions(): string {
    return `UPDATE ${this.name('tallycast_buckets')} SET turn = turn + 1, up_to = 0, sums = NULL, base = NULL`;
  }

  /**
   * Adds metrics. All rows are sent again, because a gateway without these metrics may have written newer versions of them: their
   * equal versions would hide the missing counts. Its next write fails, because all turns are over.
   */
  addMetrics(added: readonly Metric[]): string[] {
    const { metrics } = this.options;
    const columns = added.map(({ name }) => `ADD COLUMN IF NOT EXISTS ${quoteName(name)} bigint NOT NULL DEFAULT 0`);
    return [
      this.lockBuckets(),
      `ALTER TABLE ${this.name('tallycast_counts')} ${columns.join(', ')}`,
      `UPDATE ${this.name('tallycast_source')} SET metrics = ${quoteText(metrics.toString())}`,
      this.#voidPositions(),
    ];
  }

  /** The rights of a gateway that does not make the tables itself. */
  grants(user: string): string[] {
    const { schema } = this.options;
    return [
      `GRANT USAGE ON SCHEMA ${quoteName(schema)} TO ${quoteName(user)}`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${this.names} TO ${quoteName(user)}`,
    ];
  }

  /** The same for the table of milestones, which may not be there yet. */
  grantMilestones(user: string): string {
    return `GRANT SELECT, INSERT, UPDATE, DELETE ON ${this.name(MILESTONES)} TO ${quoteName(user)}`;
  }

  /** In the order in which writes lock them, so that neither waits for the other one. */
  lockBuckets(): string {
    return `SELECT 1 FROM ${this.name('tallycast_buckets')} ORDER BY bucket FOR UPDATE`;
  }
}

function misconfigured(message: string): SinkError {
  return new SinkError(message, true);
}
