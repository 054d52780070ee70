import { afterAll, describe, expect, it } from '@jest/globals';
import { stopAll } from '../support/gateway-process.js';
import { stopRedis } from '../support/redis-server.js';
import { RegionProcesses } from '../support/region-processes.js';
import { until } from '../support/until.js';

const LIKES = '/v1/story/likes';
const FANS = 6;

/** @param actor the actor who likes; without one the operation is anonymous */
async function put(url: string, action: 'increment' | 'decrement', actor?: string): Promise<number> {
  const response = await fetch(url + LIKES, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json', ...(actor !== undefined && { 'Actor-Id': actor }) },
    body: JSON.stringify({ action }),
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { count: number }).count;
}

async function likesAt(url: string): Promise<number> {
  return ((await (await fetch(url + LIKES)).json()) as { count: number }).count;
}

async function readCounts(urls: readonly string[]): Promise<number[]> {
  return Promise.all(urls.map(likesAt));
}

describe.each([
  ['the embedded store', false],
  ['Redis', true],
])('two regions on %s that take away the same anonymous likes', (_, redis) => {
  let world: RegionProcesses | undefined;

  afterAll(async () => {
    await world?.close();
    await stopAll();
    await stopRedis();
  });

  it("regions that take away the same anonymous likes keep every actor's like and every later +1", async () => {
    world = await RegionProcesses.start(['eu', 'us'], { gateways: 1, redis });
    const { urls } = world;
    const [eu, us] = urls as [string, string];
    const show = (counts: number[]): Promise<void> =>
      until(
        async () => String(await readCounts(urls)) === String(counts),
        `the regions show ${counts.join(' and ')}`,
        30_000,
      );

    for (let i = 0; i < 10; i++) await put(eu, 'increment');
    await show([10, 10]);
    world.cutAll();
    for (let i = 0; i < 15; i++) {
      expect(await put(eu, 'decrement')).toBe(Math.max(9 - i, 0));
      // The likes are of the other region, so this region cannot take them away.
      expect(await put(us, 'decrement')).toBe(10);
    }
    for (let i = 0; i < FANS; i++) await put(i % 2 === 0 ? eu : us, 'increment', `fan-${i}`);
    world.mend();
    await show([FANS, FANS]);

    for (let i = 1; i <= 3; i++) {
      expect(await put(us, 'increment')).toBe(FANS + i);
      await show([FANS + i, FANS + i]);
    }
    expect(await put(us, 'decrement')).toBe(FANS + 2);
    await show([FANS + 2, FANS + 2]);
  });
});
