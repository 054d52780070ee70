import { DatabaseError } from 'pg';
import { SinkError } from '../sink.js';
import type { PostgresConnection, Query } from './postgres-connection.js';
import type { PostgresTables, Source } from './postgres-tables.js';
import type { PostgresTarget } from './postgres-url.js';
import { quoteName, quoteText, toLine } from './sql-text.js';

/** One gateway at a time makes or changes tables: CREATE TABLE IF NOT EXISTS fails if two do it at once. The key is "tally" in ASCII. */
const LOCK = 'SELECT pg_advisory_xact_lock(500135619705)';
const UNDEFINED_TABLE = '42P01';
const INSUFFICIENT_PRIVILEGE = '42501';

type SourceRow = Source & Readonly<Record<string, unknown>>;

/** Makes the tables, and checks whose counts they hold. */
export class SourceStatements {
  readonly #select: string;
  readonly #raiseGeneration: string;

  constructor(
    private readonly tables: PostgresTables,
    private readonly target: PostgresTarget,
  ) {
    const name = tables.name('tallycast_source');
    this.#select = `
SELECT schema, region, buckets, metrics, generation,
  to_regclass(${quoteText(tables.name('tallycast_members'))}) IS NOT NULL AS "hasMembers",
  to_regclass(${quoteText(tables.name('tallycast_milestones'))}) IS NOT NULL AS "hasMilestones"
FROM ${name}`;
    this.#raiseGeneration = `UPDATE ${name} SET generation = generation + 1`;
  }

  /** @throws SinkError if the tables hold other counts, or the user may not make them */
  async prepare(connection: PostgresConnection): Promise<void> {
    const source = await connection.transact((query) => this.#read(query)).catch(ignoreUndefinedTable);
    if (source === null) {
      await this.#change(connection, (query) => this.#create(query), this.#adviseOnCreate());
      return;
    }
    if (this.tables.findNewMetrics(source).length > 0) await this.#addMetrics(connection, source);
    if (this.tables.lacksMembers(source)) await this.#addMembers(connection);
  }

  /** To be called once the tables are prepared. @throws SinkError if a gateway with more metrics, or members, has changed them since */
  async read(query: Query): Promise<Source> {
    const source = await this.#read(query);
    this.tables.findNewMetrics(source);
    this.tables.lacksMembers(source);
    return source;
  }

  /** To be called before the first milestone is written, if there is no table for it. @throws SinkError if the user may not make it */
  async addMilestones(connection: PostgresConnection): Promise<void> {
    const statement = this.tables.createMilestones();
    const advice = `run as the owner of the tables: ${toLine(statement)}; ${this.tables.grantMilestones(this.target.user)}`;
    const add = async (query: Query): Promise<void> => {
      await query(statement);
    };
    await this.#change(connection, add, advice);
  }

  /** Makes all rows and positions those of an earlier generation. */
  async raiseGeneration(query: Query): Promise<void> {
    await query(this.#raiseGeneration);
  }

  async #read(query: Query): Promise<Source> {
    const [source] = await query<SourceRow>(this.#select);
    if (source !== undefined) return source;
    const name = this.tables.name('tallycast_source');
    throw new SinkError(`${name} is empty: drop all tables of Tallycast to have them written again`, true);
  }

  /** Another gateway may have made them by now. */
  async #create(query: Query): Promise<void> {
    const [row] = await query('SELECT to_regclass($1) IS NULL AS missing', [this.tables.name('tallycast_source')]);
    if (row!['missing'] === true) for (const statement of this.tables.create()) await query(statement);
  }

  async #addMetrics(connection: PostgresConnection, source: Source): Promise<void> {
    const statements = this.tables.addMetrics(this.tables.findNewMetrics(source));
    const advice = `run as the owner of the tables: BEGIN; ${statements.join('; ')}; COMMIT`;
    const add = async (query: Query): Promise<void> => {
      const added = this.tables.findNewMetrics(await this.#read(query));
      if (added.length > 0) for (const statement of this.tables.addMetrics(added)) await query(statement);
    };
    await this.#change(connection, add, advice);
  }

  async #addMembers(connection: PostgresConnection): Promise<void> {
    const statements = [...this.tables.addMembers(), ...this.tables.grants(this.target.user)];
    const advice = `run as the owner of the tables: BEGIN; ${toLine(statements.join('; '))}; COMMIT`;
    const add = async (query: Query): Promise<void> => {
      if (!this.tables.lacksMembers(await this.#read(query))) return;
      for (const statement of this.tables.addMembers()) await query(statement);
    };
    await this.#change(connection, add, advice);
  }

  async #change(
    connection: PostgresConnection,
    change: (query: Query) => Promise<void>,
    advice: string,
  ): Promise<void> {
    try {
      await connection.transact(async (query) => {
        await query(LOCK);
        await change(query);
      });
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.code !== INSUFFICIENT_PRIVILEGE) throw error;
      throw new SinkError(`${error.message}: ${advice}`, true, { cause: error });
    }
  }

  #adviseOnCreate(): string {
    const { user, schema } = this.target;
    return `GRANT USAGE, CREATE ON SCHEMA ${quoteName(schema)} TO ${quoteName(user)}, or run what tallycast sink schema prints`;
  }
}

function ignoreUndefinedTable(error: unknown): null {
  if (error instanceof DatabaseError && error.code === UNDEFINED_TABLE) return null;
  throw error;
}
