import { afterAll, describe, expect, it } from '@jest/globals';
import { closeClients, totalsAt } from '../support/clients.js';
import { Crowd, integer, randomFrom } from '../support/clients-crowd.js';
import { Watcher } from '../support/clients-watcher.js';
import { startGateway, stopAll } from '../support/gateway-process.js';

const SOCKETS = 50;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);
const ROUNDS = 20 * Number(process.env['TEST_SCALE'] ?? 1);
const ROUND_LIMIT_MS = 15_000;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** A few flushes, so that the moment falls anywhere between two commits, and within one. */
const MOMENT_MAX_MS = 40;
const ENV = { MAX_OPS_PER_CONNECTION: '0' };

describe('a gateway that is killed', () => {
  afterAll(async () => {
    await closeClients();
    await stopAll();
  });

  it(
    `counts exactly what ${SOCKETS} sockets asked of ${POSTS.length} posts, after each of ${ROUNDS} kills (TEST_SEED=${SEED})`,
    async () => {
      const random = randomFrom(SEED);
      let gateway = await startGateway(ENV);
      const { url, port, dataDir } = gateway;
      const crowd = new Crowd(url, SOCKETS, POSTS, random);
      const watcher = new Watcher(url, POSTS, { reconnectionDelay: 20, reconnectionDelayMax: 100 });

      for (let round = 1; round <= ROUNDS; round++) {
        const enough = crowd.acknowledgements(1 + integer(random, 1500));
        crowd.act();
        await enough;
        await moment(random() * MOMENT_MAX_MS);
        await gateway.kill('SIGKILL');
        gateway = await startGateway({ ...ENV, PORT: String(port), DATA_DIR: dataDir });
        await crowd.acknowledgements(SOCKETS);
        crowd.rest();
        await crowd.settled();

        const asked = crowd.asked;
        expect({ round, totals: await totalsAt(url, POSTS) }).toEqual({ round, totals: asked });
        await watcher.untilShows(asked);
        expect({ round, summed: watcher.summed }).toEqual({ round, summed: asked });
      }
      // Without these the kills met no operation in flight, and showed nothing.
      expect(crowd.clients.reduce((sum, { duplicates }) => sum + duplicates, 0)).toBeGreaterThan(0);
    },
    ROUNDS * ROUND_LIMIT_MS,
  );
});

/** Not a wait for anything: the kill is to come at a random point of the gateway's work. */
function moment(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
