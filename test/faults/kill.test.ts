import { afterAll, describe, expect, it } from '@jest/globals';
import { ACTOR_KEYS, type ActorKeys } from '../../src/counters/ids.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients, readTotals } from '../support/clients.js';
import { Crowd, FAST_RECONNECT } from '../support/clients-crowd.js';
import { TestViewer } from '../support/clients-viewer.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { Random } from '../support/random.js';
import { untilUpgraded } from './upgrades.js';

const SOCKETS = 30;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);
/** Rounds of each gateway, at least. */
const ROUNDS = 2 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** A few flushes, so that kills fall between two commits and within one. */
const DELAY_MAX_MS = 40;
const ACKNOWLEDGED_MAX = 800;

describe('a gateway that is killed', () => {
  afterAll(async () => {
    await closeClients();
    await stopAll();
  });

  it(
    `a gateway that is killed ${ACTOR_KEYS.length * ROUNDS} times counts exactly what ${SOCKETS} sockets sent (TEST_SEED=${SEED})`,
    async () => {
      // The gateways run at once, each repeatedly on its own data.
      await Promise.all(ACTOR_KEYS.map((keys, i) => killRepeatedly(SEED + i, keys)));
    },
    LIMIT_MS,
  );
});

/**
 * Repeats until clients have retried operations that were counted before a kill. Otherwise no kill came between a
 * commit and its acknowledgement, and the kills would prove nothing.
 */
async function killRepeatedly(seed: number, actorKeys: ActorKeys): Promise<void> {
  const env = { MAX_OPS_PER_CONNECTION: '0', ACTOR_KEYS: actorKeys };
  const random = new Random(seed);
  let gateway = await startGateway(env);
  const { url, port, dataDir } = gateway;
  const crowd = new Crowd(url, SOCKETS, POSTS, random);
  const viewer = new TestViewer(url, POSTS, FAST_RECONNECT);
  const duplicates = (): number => crowd.clients.reduce((sum, client) => sum + client.duplicates, 0);

  for (let round = 1; round <= ROUNDS || duplicates() === 0; round++) {
    const enough = crowd.untilAcknowledgements(1 + random.below(ACKNOWLEDGED_MAX));
    crowd.act();
    await enough;
    await untilUpgraded(crowd);
    await crowd.untilAcknowledgements(1);
    // Without a delay, other acknowledgements of the same commit are still in flight.
    if (random.chance(0.5)) await delay(random.next() * DELAY_MAX_MS);
    await gateway.kill('SIGKILL');
    gateway = await startGateway({ ...env, PORT: String(port), DATA_DIR: dataDir });
    await crowd.untilAcknowledgements(SOCKETS);
    crowd.stop();
    await crowd.untilAcknowledged();

    const { sent } = crowd;
    expect({ seed, round, totals: await readTotals(url, POSTS) }).toEqual({ seed, round, totals: sent });
    await viewer.untilShows(sent);
    expect({ seed, round, summed: viewer.summed }).toEqual({ seed, round, summed: sent });
  }
  await gateway.kill('SIGKILL');
}

/** Waits for no event, because the kill comes at a random point of the gateway's work. */
function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
