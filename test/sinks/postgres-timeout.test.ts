import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import { type PostgresServer, startPostgres, stopPostgres } from '../support/postgres-server.js';
import { until } from '../support/until.js';
import { FedStore } from './fed-store.js';

const NOBODY = -1;

let server: PostgresServer;
let fed: FedStore;

beforeAll(async () => {
  server = await startPostgres();
  fed = await FedStore.open(5);
});
afterEach(() => fed.close());
afterAll(stopPostgres);

it('a write that takes too long is done in smaller ones', async () => {
  const database = await server.createDatabase();
  const { feeder, warnings } = fed.startGateway((options) => new PostgresSink({ ...options, url: database.url }));
  await fed.change(100);
  await until(() => feeder.status.currentAtMs !== null, 'the sink has everything');
  fed.passLease(NOBODY);
  await until(() => !feeder.status.isFed, 'nobody feeds the sink');
  await fed.change(6_000, 3_000);
  // Reports the error of a timeout, which would take 10 s each.
  await database.sql(`
    CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF (SELECT count(*) FROM written) > 600 THEN RAISE EXCEPTION 'it took too long' USING ERRCODE = '57014'; END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER slow AFTER INSERT ON tallycast_counts REFERENCING NEW TABLE AS written
      FOR EACH STATEMENT EXECUTE FUNCTION reject()`);
  fed.passLease(0);
  const counts = await fed.readCounts();
  expect(counts.size).toBeGreaterThan(2_000);
  const readRows = async (): Promise<number> => (await database.sql('SELECT 1 FROM tallycast_counts')).length;
  await until(async () => (await readRows()) === counts.size, 'all posts have rows');
  await until(() => feeder.status.isUp, 'the sink is up');
  expect(warnings).not.toEqual([]);
  for (const warning of warnings) expect(warning).toMatch(/cannot be written now: it took too long$/);
});
