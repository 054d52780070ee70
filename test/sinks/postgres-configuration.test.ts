import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Metrics } from '../../src/counters/metrics.js';
import type { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import type { SinkError } from '../../src/sinks/sink.js';
import {
  chownToServer,
  type PostgresServer,
  startPostgres,
  stopPostgres,
  type TestDatabase,
} from '../support/postgres-server.js';
import { changes, closeSinks, counts, openSink, readTable } from './postgres-fixtures.js';

const run = promisify(execFile);

let server: PostgresServer;
let database: TestDatabase;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(stopPostgres);
beforeEach(async () => {
  database = await server.createDatabase();
});
afterEach(closeSinks);

/** A URL whose user has no rights but those that are granted. */
async function urlOf(user: string, grants: string): Promise<URL> {
  await database.sql(`CREATE ROLE ${user} LOGIN PASSWORD 'x'; ${grants}`);
  return database.urlWith({ username: user, password: 'x' });
}

async function failure(of: Promise<unknown>): Promise<SinkError> {
  return await of.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: unknown) => error as SinkError,
  );
}

/** Expects an error that somebody has to mend, in one line. */
async function expectAdvice(sink: PostgresSink, ...texts: readonly string[]): Promise<void> {
  const { message, isConfiguration } = await failure(
    sink.readPositions().then(() => sink.write([changes(1, [counts('a', 1)])])),
  );
  for (const text of texts) expect(message).toContain(text);
  expect(message).not.toContain('\n');
  expect(isConfiguration).toBe(true);
}

describe('logins', () => {
  it('a wrong password is reported', async () => {
    const sink = openSink(database.urlWith({ password: 'wrong' }));
    await expectAdvice(sink, 'password authentication failed for user "postgres"', 'check the user, the password');
  });

  it('a missing password is reported', async () => {
    await expectAdvice(openSink(database.urlWith({ password: '' })), 'SASL', 'check the password in SINK_URL');
  });

  it('an unknown database is reported', async () => {
    const sink = openSink(database.urlWith({ pathname: '/unknown' }));
    await expectAdvice(sink, 'database "unknown" does not exist', 'CREATE DATABASE "unknown"');
  });

  it('a server without TLS is reported', async () => {
    const sink = openSink(database.urlWith({ search: '?sslmode=require' }));
    await expectAdvice(
      sink,
      'The server does not support SSL connections: enable ssl in the server, or use sslmode=disable',
    );
  });

  it('a server that does not answer is tried again', async () => {
    const other = await startPostgres();
    await other.kill('SIGKILL');
    const { message, isConfiguration } = await failure(
      openSink(database.urlWith({ port: String(other.port) })).readPositions(),
    );
    expect(message).toBe(`cannot be written now: connect ECONNREFUSED 127.0.0.1:${other.port}`);
    expect(isConfiguration).toBe(false);
    await other.restart();
  });
});

describe('rights and schemas', () => {
  it('an unknown schema is reported', async () => {
    const sink = openSink(database.urlWith({ search: '?schema=other' }));
    await expectAdvice(sink, 'schema "other" does not exist', 'CREATE SCHEMA "other"');
  });

  it('a user that may not make tables is reported, and works with tables that an operator made', async () => {
    const url = await urlOf('writer', '');
    const sink = openSink(url);
    await expectAdvice(
      sink,
      'permission denied for schema public',
      'GRANT USAGE, CREATE ON SCHEMA "public" TO "writer"',
    );
    await database.sql(sink.schemaSql);
    await sink.readPositions();
    expect(await sink.write([changes(1, [counts('a', 1)])])).toBe(true);
    const more = openSink(url, { metrics: Metrics.parse('likes:toggle,views:tally,shares:tally') });
    await expectAdvice(
      more,
      'must be owner of table tallycast_counts: run as the owner of the tables: BEGIN; ',
      'ALTER TABLE "public".tallycast_counts ADD COLUMN IF NOT EXISTS "shares" bigint NOT NULL DEFAULT 0; ',
    );
    await sink.readPositions();
    const sql = /BEGIN; .*COMMIT/.exec((await failure(more.readPositions())).message)![0];
    await database.sql(sql);
    expect(await more.readPositions()).not.toEqual(new Map());
  });

  it('row-level security is reported, which no right helps against', async () => {
    await openSink(database.url).readPositions();
    const url = await urlOf('secured', 'GRANT ALL ON ALL TABLES IN SCHEMA public TO secured');
    await database.sql('ALTER TABLE tallycast_counts ENABLE ROW LEVEL SECURITY');
    const advice = 'disable row-level security on "public".tallycast_source, ';
    await expectAdvice(openSink(url), advice, ', or ALTER ROLE "secured" BYPASSRLS');
  });

  it('a user that may not write the tables is reported', async () => {
    await openSink(database.url).readPositions();
    const grants = 'GRANT SELECT ON tallycast_source, tallycast_buckets, tallycast_dead TO reader';
    const sink = openSink(await urlOf('reader', grants));
    await expectAdvice(
      sink,
      'permission denied for table tallycast_buckets: GRANT USAGE ON SCHEMA "public" TO "reader"; ',
      'GRANT SELECT, INSERT, UPDATE, DELETE ON "public".tallycast_source, "public".tallycast_buckets, ',
    );
  });
});

describe('sessions that cannot write', () => {
  it('a session that is read-only is reported and retried soon, and a new one notices that it may write', async () => {
    await openSink(database.url).readPositions();
    await database.sql(`ALTER DATABASE ${database.name} SET default_transaction_read_only = on`);
    const sink = openSink(database.url);
    await sink.readPositions();
    const { message, isConfiguration } = await failure(sink.write([changes(1, [counts('a', 1)])]));
    expect(message).toContain('cannot execute INSERT in a read-only transaction: the server is a standby, or');
    expect(isConfiguration).toBe(false);
    await database.sql(`BEGIN READ WRITE; ALTER DATABASE ${database.name} RESET default_transaction_read_only; COMMIT`);
    await sink.readPositions();
    expect(await sink.write([changes(1, [counts('a', 1)])])).toBe(true);
  });

  it('a socket that is missing is no certificate that is missing', async () => {
    const url = new URL(`postgres://user@${encodeURIComponent(server.dir)}:1/counts`);
    const { message, isConfiguration } = await failure(openSink(url).readPositions());
    expect(message).toBe(`cannot be written now: connect ENOENT ${server.dir}/.s.PGSQL.1`);
    expect(isConfiguration).toBe(false);
  });
});

describe('tables that are not those of this gateway', () => {
  it.each([
    [
      'a column that was dropped',
      'ALTER TABLE tallycast_counts DROP views',
      'column "views" of relation "tallycast_counts"',
    ],
    [
      'a column of another type',
      'ALTER TABLE tallycast_counts ALTER likes DROP DEFAULT, ALTER likes TYPE boolean USING likes > 0',
      '"likes" is of type',
    ],
    ['a key that was dropped', 'ALTER TABLE tallycast_counts DROP CONSTRAINT tallycast_counts_pkey', 'no unique'],
    ['a table that was dropped', 'DROP TABLE tallycast_dead', 'relation "public.tallycast_dead" does not exist'],
    ['a source without a row', 'DELETE FROM tallycast_source', '"public".tallycast_source is empty'],
    ['a source that was dropped', 'DROP TABLE tallycast_source', 'relation "tallycast_buckets" already exists'],
    [
      'a column without a default',
      'ALTER TABLE tallycast_counts ADD note text NOT NULL',
      'null value in column "note"',
    ],
    ['a later version', 'UPDATE tallycast_source SET schema = 2', 'version 2, and this gateway writes 1: update'],
    [
      'another region',
      `UPDATE tallycast_source SET region = 'us'`,
      'region us, and this one is eu: name another database',
    ],
    ['other buckets', 'UPDATE tallycast_source SET buckets = 64', 'a store with 64 buckets, and this one has 4'],
    [
      'another metric',
      `UPDATE tallycast_source SET metrics = 'likes:toggle,hits:tally'`,
      'likes:toggle,hits:tally, and',
    ],
    [
      'more metrics',
      `UPDATE tallycast_source SET metrics = metrics || ',shares:tally'`,
      'views:tally,shares:tally, and',
    ],
    [
      'a constraint on the positions',
      'ALTER TABLE tallycast_buckets ADD CHECK (turn < 1)',
      'drop the constraint or trigger that was added',
    ],
  ])('%s is reported', async (_, change, text) => {
    const sink = openSink(database.url);
    await sink.readPositions();
    await database.sql(change);
    await expectAdvice(sink, text);
    expect(await database.sql('SELECT * FROM tallycast_counts')).toEqual([]);
  });

  it('a sink that was reported goes on once it is mended', async () => {
    const sink = openSink(database.url);
    await sink.readPositions();
    await database.sql('ALTER TABLE tallycast_counts RENAME views TO hits');
    await expectAdvice(sink, 'column "views"');
    await database.sql('ALTER TABLE tallycast_counts RENAME hits TO views');
    await sink.readPositions();
    expect(await sink.write([changes(1, [counts('a', 1)])])).toBe(true);
    expect(await readTable(database)).toEqual(['a 1.1 1 0']);
  });
});

describe('TLS', () => {
  it('the certificate of the server is checked with verify-full alone', async () => {
    const dir = server.dir;
    const [key, cert] = [join(dir, 'tls.key'), join(dir, 'tls.cert')];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    await run('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', cert]);
    for (const file of [key, cert]) await chownToServer(file);
    const settings = ['ssl=on', `ssl_cert_file=${cert}`, `ssl_key_file=${key}`];
    for (const setting of settings) await database.sql(`ALTER SYSTEM SET ${setting.replace('=', " = '")}'`);
    await database.sql('SELECT pg_reload_conf()');

    const at = (search: string, hostname = 'localhost'): PostgresSink =>
      openSink(Object.assign(database.urlWith({ search }), { hostname }));
    const trusted = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(cert)}`;
    for (const sink of [at('?sslmode=require'), at(trusted)]) {
      await sink.readPositions();
      const [row] = await database.sql(
        `SELECT bool_and(ssl) AS ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tallycast'`,
      );
      expect(row).toEqual({ ssl: true });
    }
    await expectAdvice(at('?sslmode=verify-full'), 'self-signed certificate: name a file with');
    await expectAdvice(at(trusted, '127.0.0.1'), 'altnames', 'name the server in SINK_URL as its certificate does');
    await expectAdvice(at('?sslmode=verify-full&sslrootcert=/none'), 'ENOENT', 'sslrootcert');
  });
});
