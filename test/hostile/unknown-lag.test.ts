import { afterAll, describe, expect, it } from '@jest/globals';
import { stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { stopRedis } from '../support/redis-server.js';
import { RegionProcesses } from '../support/region-processes.js';
import { until } from '../support/until.js';

const LIKES = '/v1/story/likes';
const LIMIT_MS = 20_000;

interface Peer {
  readonly region: string;
  readonly lagSeconds: number | null;
  readonly lagChanges: number | null;
}

async function readPeer(url: string): Promise<Peer> {
  const { peers } = (await (await fetch(`${url}/v1/regions`)).json()) as { peers: [Peer] };
  return peers[0];
}

async function likesAt(url: string): Promise<number> {
  return ((await (await fetch(url + LIKES)).json()) as { count: number }).count;
}

async function like(url: string): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(url + LIKES, { method: 'PUT', headers, body: '{"action":"increment"}' });
  expect(response.status).toBe(200);
}

describe.each([
  ['the embedded store', false],
  ['Redis', true],
])('a region on %s that is restarted while a peer lacks 20 likes', (_, redis) => {
  let world: RegionProcesses | undefined;

  afterAll(async () => {
    await world?.close();
    await stopAll();
    await stopRedis();
  });

  it('a restarted region reports an unknown lag as null, and 0 only if the peer has everything', async () => {
    world = await RegionProcesses.start(['eu', 'us'], { gateways: 1, redis });
    const [eu] = world.regions;
    const [url, far] = world.urls as [string, string];
    await until(async () => (await readPeer(url)).lagChanges === 0, 'us has all of eu', LIMIT_MS);
    world.cut('eu', 'us', 'refuse');
    for (let i = 0; i < 20; i++) await like(url);
    await until(async () => ((await readPeer(url)).lagChanges ?? 0) > 0, 'eu knows that us lacks something', LIMIT_MS);

    await eu!.killAndRestart(0, world.env(eu!));
    for (let look = 0; look < 20; look++) {
      expect(await readPeer(url)).toMatchObject({ region: 'us', lagChanges: null, lagSeconds: null });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const metrics = await readMetrics(url);
    expect(metrics.get('tallycast_replication_lag_changes{peer="us"}')).toBeNaN();
    expect(metrics.get('tallycast_replication_lag_seconds{peer="us"}')).toBeNaN();
    expect(await likesAt(far)).toBe(0);

    world.mend();
    await until(async () => (await readPeer(url)).lagChanges === 0, 'us has all of eu again', LIMIT_MS);
    expect(await likesAt(far)).toBe(20);
    expect(await readPeer(url)).toMatchObject({ lagSeconds: 0 });
  });
});
