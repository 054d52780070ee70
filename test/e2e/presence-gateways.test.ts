import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { closeClients, expectOk } from '../support/clients.js';
import { TestViewer } from '../support/clients-viewer.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const ENDING = { reconnection: false };

describe('viewers of a post at two gateways on one Redis', () => {
  let redis: RedisServer;
  let first: GatewayProcess;
  let second: GatewayProcess;
  let testCount = 0;
  /** A new post for each test. */
  let post: string;

  beforeAll(async () => {
    redis = await startRedis();
    [first, second] = await Promise.all([gateway(), gateway()]);
  });

  beforeEach(() => {
    post = `stage-${(testCount += 1)}`;
  });

  afterAll(async () => {
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  it('viewers of two gateways are summed for the viewers of both as they come and go', async () => {
    const here = await watching(first, 3);
    const there = await watching(second, 2);
    await untilAllShow([...here, ...there], 5);

    here.pop()!.socket.close();
    there.pop()!.socket.close();
    await untilAllShow([...here, ...there], 3);

    expectOk(await there[0]!.socket.emitWithAck('unsubscribe', { posts: [post] }));
    await untilAllShow(here, 2);
  });

  it('viewers of two gateways are summed over HTTP on every gateway, even on one without viewers', async () => {
    await watching(second, 3);
    await untilBothSay(3);
    await watching(first, 1);
    await untilBothSay(4);
  });

  it('the number of viewers stays the same when a viewer moves from one gateway to the other', async () => {
    const [stays] = await watching(first, 1);
    const [leaves] = await watching(first, 1);
    await watching(second, 1);
    await untilAllShow([stays!], 3);
    leaves!.socket.close();
    await watching(second, 1);
    await untilBothSay(3);
    await untilAllShow([stays!], 3);
  });

  it('the viewers of a gateway leave the sum at once after its SIGTERM', async () => {
    const third = await gateway();
    const here = await watching(first, 2);
    await watching(third, 4);
    await untilAllShow(here, 6);

    expect(await third.kill('SIGTERM')).toBe(0);
    await untilAllShow(here, 2);
    await untilBothSay(2);
  });

  it('the viewers of a killed gateway leave the sum after its lease has expired', async () => {
    const here = await watching(first, 2);
    await watching(second, 4);
    await untilAllShow(here, 6);

    await second.kill('SIGKILL');
    await untilAllShow(here, 2);
    expect(await liveAt(first)).toBe(2);
  });

  function gateway(): Promise<GatewayProcess> {
    return startGateway({ REDIS_URL: redis.url });
  }

  async function watching({ url }: GatewayProcess, count: number): Promise<TestViewer[]> {
    const watchers = Array.from({ length: count }, () => new TestViewer(url, [post], ENDING));
    await Promise.all(watchers.map((watcher) => watcher.untilSubscribed()));
    return watchers;
  }

  async function untilAllShow(watchers: readonly TestViewer[], live: number): Promise<void> {
    const all = (): boolean => watchers.every((watcher) => watcher.viewerCount(post) === live);
    await until(all, `all of ${watchers.length} show ${live} viewers`);
  }

  async function untilBothSay(live: number): Promise<void> {
    const both = async (): Promise<boolean> => (await liveAt(first)) === live && (await liveAt(second)) === live;
    await until(both, `both gateways say ${live} viewers`);
  }

  async function liveAt({ url }: GatewayProcess): Promise<number | undefined> {
    const response = await fetch(`${url}/v1/counts?posts=${post}`);
    const { counts } = (await response.json()) as { counts: { live: number }[] };
    return counts[0]?.live;
  }
});
