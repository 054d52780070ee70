import { afterAll, expect, it } from '@jest/globals';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { Polling } from '../support/polling.js';
import { until } from '../support/until.js';

afterAll(stopAll);

it('a post keeps no memory of the request that created it', async () => {
  const env = { MAX_OPS_PER_CONNECTION: '0', NODE_OPTIONS: '--max-old-space-size=96' };
  const gateway = await startGateway(env);
  let polling = await Polling.connect(gateway.url);
  // Too large for an event, so dropped; 120 MB in all.
  const padding = `42["pad","${'x'.repeat(200_000)}"]`;
  const post = (i: number): string => `a-post-with-a-name-that-is-long-enough-${i}`;
  for (let i = 0; i < 600; i++) {
    // A session ends soon, because this client answers no pings.
    if (i % 50 === 0) polling = await Polling.connect(gateway.url);
    expect((await polling.send(`42["view",{"post":"${post(i)}"}]`, padding)).status).toBe(200);
  }
  // The last one is counted, so the gateway still runs.
  await until(async () => {
    const response = await fetch(`${gateway.url}/v1/${post(599)}/views`);
    return ((await response.json()) as { count: number }).count === 1;
  }, 'the last view is counted');
});
