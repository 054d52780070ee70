import type { Clock } from '../../common/clock.js';
import { sleep } from '../../common/sleep.js';
import type { ActorKeys } from '../../counters/ids.js';
import { explainMisfit, type Metrics } from '../../counters/metrics.js';
import { UNNAMED_REGION } from '../../counters/pn-counter.js';
import type { RedisClient } from './client/redis-client.js';
import { CONFIG_KEY } from './codec/redis-keys.js';
import { Script } from './scripts/script.js';

/** The layout of keys and values, as docs/redis-keys.md describes it. */
const LAYOUT = '3';
/** How often the call is tried at boot. */
const ATTEMPTS = 10;
const PAUSE_MS = 100;

/** Settings that cannot be changed once there is data. */
interface DataSettings {
  readonly buckets: number;
  readonly actorKeys: ActorKeys;
  readonly metrics: Metrics;
  readonly region: string;
}

/**
 * Records the settings that the data is made with, or checks that they fit.
 * @throws Error with one line that says which setting does not
 */
export async function ensureDataCompatible(
  client: RedisClient,
  clock: Clock,
  { buckets, actorKeys, metrics, region }: DataSettings,
): Promise<void> {
  const own = [LAYOUT, String(buckets), actorKeys, metrics.toString(), region, UNNAMED_REGION] as const;
  const reply = await claim(client, clock, own);
  const [layout, theirBuckets, theirActorKeys, theirMetrics, theirRegion] = reply as [string, ...string[]];
  if (layout !== LAYOUT) {
    const rule = `this version reads layout ${LAYOUT}`;
    throw new Error(`the data in Redis has layout ${layout} (${rule}); use the version that wrote it`);
  }
  const made = 'the data in Redis was made with';
  if (theirBuckets !== own[1]) throw new Error(`BUCKETS must be ${theirBuckets}: ${made} that many`);
  if (theirActorKeys !== actorKeys) throw new Error(`ACTOR_KEYS must be ${theirActorKeys}: ${made} that one`);
  // Data without a name would have been given this one, if all else did fit.
  if (theirRegion !== region && theirRegion !== UNNAMED_REGION)
    throw new Error(`REGION must be ${theirRegion}: ${made} that one`);
  const misfit = explainMisfit(theirMetrics!, own[3]);
  if (misfit !== null) throw new Error(misfit);
}

/** A second call changes nothing, so it can be retried when a reply was lost. */
async function claim(client: RedisClient, clock: Clock, own: readonly string[]): Promise<unknown> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await client.write(new Script('claim-config-1'), [CONFIG_KEY], own);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
    await sleep(clock, PAUSE_MS);
  }
}
