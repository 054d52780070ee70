import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients } from '../support/clients.js';
import { type PostgresServer, startPostgres, stopPostgres } from '../support/postgres-server.js';
import { FedDeployment } from './fed-deployment.js';
import { EVENTS, LOSING_EVENTS, SinkHistory } from './sink-history.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SEEDS = Array.from({ length: SCALE }, (_, i) => SEED + i);

describe('three gateways that feed a PostgreSQL sink under load', () => {
  let postgres: PostgresServer;
  let deployment: FedDeployment;

  beforeAll(async () => {
    postgres = await startPostgres();
  });

  afterEach(async () => {
    await closeClients();
    await deployment.end();
  });

  afterAll(stopPostgres);

  async function begin(seed: number): Promise<SinkHistory> {
    deployment = await FedDeployment.start(postgres);
    return new SinkHistory(deployment, seed);
  }

  it.each(SEEDS)(
    'rows are exact after kills, pauses, cuts, a failover, and a metric that is added (TEST_SEED=%d)',
    async (seed) => {
      const history = await begin(seed);
      await history.run(EVENTS);
      report(seed, await history.untilCopied());
      await history.expectExact();
      await history.expectOneDead();
    },
    LIMIT_MS,
  );

  it.each(SEEDS)(
    'rows follow a store that has lost commits for good (TEST_SEED=%d)',
    async (seed) => {
      const history = await begin(seed);
      await history.run(LOSING_EVENTS);
      report(seed, await history.untilCopied());
      await history.expectBounded();
      await history.expectOneDead();
    },
    LIMIT_MS,
  );
});

function report(seed: number, ms: number): void {
  const { currentTestName = '' } = expect.getState();
  process.stderr.write(
    `${currentTestName}: rows equal the counts ${(ms / 1_000).toFixed(2)} s after calm (seed ${seed})\n`,
  );
}
