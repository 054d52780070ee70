import { afterAll, describe, expect, it } from '@jest/globals';
import { ACTOR_KEYS, type ActorKeys } from '../../src/counters/ids.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients, readTotals } from '../support/clients.js';
import { Crowd, FAST_RECONNECT } from '../support/clients-crowd.js';
import { TestViewer } from '../support/clients-viewer.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { Random } from '../support/random.js';
import { untilUpgraded } from './upgrades.js';

const SOCKETS = 50;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);
/** Of each gateway. */
const ROUNDS = 2 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** A few flushes, so that the moment falls anywhere between two commits, and within one. */
const MOMENT_MAX_MS = 40;
const ACKNOWLEDGED_MAX = 1_500;

describe('a gateway that is killed', () => {
  afterAll(async () => {
    await closeClients();
    await stopAll();
  });

  it(
    `counts exactly what ${SOCKETS} sockets asked of ${POSTS.length} posts, ${ACTOR_KEYS.length * ROUNDS} times (TEST_SEED=${SEED})`,
    async () => {
      // Side by side, each over and over on its own data.
      await Promise.all(ACTOR_KEYS.map((keys, i) => killAgainAndAgain(SEED + i, keys)));
    },
    LIMIT_MS,
  );
});

/**
 * Goes on until operations that had been counted before a kill were sent again after it: without them no kill met an
 * operation between its commit and its acknowledgement, and the kills showed nothing.
 */
async function killAgainAndAgain(seed: number, actorKeys: ActorKeys): Promise<void> {
  const env = { MAX_OPS_PER_CONNECTION: '0', ACTOR_KEYS: actorKeys };
  const random = new Random(seed);
  let gateway = await startGateway(env);
  const { url, port, dataDir } = gateway;
  const crowd = new Crowd(url, SOCKETS, POSTS, random);
  const watcher = new TestViewer(url, POSTS, FAST_RECONNECT);
  const duplicates = (): number => crowd.clients.reduce((sum, client) => sum + client.duplicates, 0);

  for (let round = 1; round <= ROUNDS || duplicates() === 0; round++) {
    const enough = crowd.untilAcknowledgements(1 + random.below(ACKNOWLEDGED_MAX));
    crowd.act();
    await enough;
    await untilUpgraded(crowd);
    await crowd.untilAcknowledgements(1);
    // At once other acknowledgements of the same commit are on their way.
    if (random.chance(0.5)) await moment(random.next() * MOMENT_MAX_MS);
    await gateway.kill('SIGKILL');
    gateway = await startGateway({ ...env, PORT: String(port), DATA_DIR: dataDir });
    await crowd.untilAcknowledgements(SOCKETS);
    crowd.stop();
    await crowd.untilAcknowledged();

    const { sent } = crowd;
    expect({ seed, round, totals: await readTotals(url, POSTS) }).toEqual({ seed, round, totals: sent });
    await watcher.untilShows(sent);
    expect({ seed, round, summed: watcher.summed }).toEqual({ seed, round, summed: sent });
  }
  await gateway.kill('SIGKILL');
}

/** Not a wait for anything: the kill is to come at a random point of the gateway's work. */
function moment(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
