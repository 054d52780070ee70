import { readFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { Client, DatabaseError, types } from 'pg';
import type { Clock } from '../../common/clock.js';
import { isReadOnly } from './postgres-errors.js';
import type { PostgresTarget } from './postgres-url.js';

type Row = Readonly<Record<string, unknown>>;
type SqlValue = string | number | readonly string[];
/** Runs one statement, or several without values. Columns of type bigint are numbers. */
export type Query = <R extends Row = Row>(text: string, values?: readonly SqlValue[]) => Promise<readonly R[]>;

/** Ends a transaction without changes. */
export class RollBack extends Error {}

const CONNECT_MAX_MS = 5_000;
/** Above the server's own limit, so that only a connection that is dead reaches it. */
const REPLY_MAX_MS = 15_000;
const CLOSE_MAX_MS = 1_000;

/**
 * The limits hold for the transaction only, because poolers such as pgbouncer give the server's session to others after it. The last one
 * frees the rows of a gateway that is frozen. Constraints are checked with each statement, because a commit that fails does not say
 * which rows are to blame.
 */
const BEGIN = [
  'BEGIN ISOLATION LEVEL READ COMMITTED',
  "SET LOCAL statement_timeout = '10s'",
  "SET LOCAL lock_timeout = '5s'",
  "SET LOCAL idle_in_transaction_session_timeout = '10s'",
  'SET CONSTRAINTS ALL IMMEDIATE',
].join('; ');

/** One connection to PostgreSQL: made when it is needed, and again after it broke. Transactions wait for each other. */
export class PostgresConnection {
  #open: { readonly client: Client; readonly socket: Socket } | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(
    private readonly target: PostgresTarget,
    private readonly clock: Clock,
  ) {}

  /**
   * Commits unless `work` throws.
   * @throws DatabaseError, or an error of the network, after which the transaction may have been committed
   */
  transact<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const result = this.#last.then(() => this.#transact(work));
    this.#last = result.catch(() => undefined);
    return result;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    const timer = this.clock.after(CLOSE_MAX_MS, () => open.socket.destroy());
    await open.client.end().catch(() => undefined);
    timer.cancel();
  }

  async #transact<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const { client, socket } = await this.#connect();
    socket.ref();
    try {
      await client.query(BEGIN);
      const result = await work(async <R extends Row>(text: string, values: readonly SqlValue[] = []) => {
        return (await client.query<R>(text, [...values])).rows;
      });
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await this.#rollBack(client, error);
      throw error;
    } finally {
      socket.unref();
    }
  }

  async #connect(): Promise<{ readonly client: Client; readonly socket: Socket }> {
    if (this.#open !== null) return this.#open;
    this.#requireOpen();
    const { host, port, user, password, database } = this.target;
    // An own socket, because only that can be destroyed, and does not keep the process alive while nothing is written.
    const socket = new Socket();
    const client = new Client({
      ...{ host, port, user, password, database, stream: () => socket },
      ssl: await this.#readTls(),
      application_name: 'tallycast',
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_MAX_MS,
      query_timeout: REPLY_MAX_MS,
    });
    client.setTypeParser(types.builtins.INT8, parseExact);
    // Statements that fail report it, too.
    client.on('error', () => this.#drop(client));
    client.on('end', () => this.#drop(client));
    try {
      await client.connect();
      this.#requireOpen();
    } catch (error) {
      socket.destroy();
      throw error;
    }
    this.#open = { client, socket };
    return this.#open;
  }

  async #readTls(): Promise<ConnectionOptions | false> {
    const { tls, rootCertificate } = this.target;
    if (tls === 'disable') return false;
    if (tls === 'require') return { rejectUnauthorized: false };
    return {
      rejectUnauthorized: true,
      ...(rootCertificate !== null && { ca: await readFile(rootCertificate, 'utf8') }),
    };
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new Error('the connection was closed');
  }

  /** After an error of the server the connection can go on. After others a reply may be missing. */
  async #rollBack(client: Client, error: unknown): Promise<void> {
    try {
      const canGoOn = error instanceof RollBack || (error instanceof DatabaseError && !isReadOnly(error));
      if (!canGoOn) this.#drop(client);
      else await client.query('ROLLBACK');
    } catch {
      this.#drop(client);
    }
  }

  #drop(client: Client): void {
    if (this.#open?.client !== client) return;
    this.#open.socket.destroy();
    this.#open = null;
  }
}

/** Counts are at most 2^53 - 1, and so are all other columns. */
function parseExact(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number))
    throw new RangeError(`${text} is above 2^53 - 1: nothing that Tallycast has written`);
  return number;
}
