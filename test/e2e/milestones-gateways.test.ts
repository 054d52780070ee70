import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { toInt64 } from '../../src/counters/ids.js';
import { digest64 } from '../../src/common/digest64.js';
import type { MilestoneEvent } from '../../src/protocol/messages.js';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { ADMIN_TOKEN, arm, armNew, readMilestones, readWinners } from '../support/milestones.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { StreamReader } from '../support/stream-reader.js';
import { until } from '../support/until.js';

const GATEWAYS = 3;

let gateways: GatewayProcess[];

beforeAll(async () => {
  const { url } = await startRedis();
  const env = { ADMIN_TOKEN, REDIS_URL: url };
  gateways = await Promise.all(Array.from({ length: GATEWAYS }, () => startGateway(env)));
});

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

const urlOf = (gateway: number): string => gateways[gateway % GATEWAYS]!.url;

describe('gateways that share a store', () => {
  it('a milestone that is armed at one gateway is armed at all', async () => {
    await armNew(urlOf(0), 'shared', 'views', 9);
    expect(await readMilestones(urlOf(1), 'shared', 'views')).toEqual({ armed: [9], reached: [] });
    expect(await arm(urlOf(2), 'shared', 'views', 9)).toMatchObject({ status: 200 });
  });

  it('a retry at another gateway gets the acknowledgement of the winner', async () => {
    await armNew(urlOf(0), 'retried', 'views', 2);
    const auth = { actor: 'ada', session: randomUUID() };
    const seen: unknown[] = [];
    for (const [gateway, seq] of [
      [0, 1],
      [0, 2],
      [1, 1],
      [1, 2],
      [2, 2],
    ] as const) {
      const socket = connect(urlOf(gateway), auth);
      const { applied, reached } = expectOk(await socket.emitWithAck('view', { post: 'retried', seq }));
      seen.push([gateway, seq, applied, reached]);
    }
    expect(seen).toEqual([
      [0, 1, true, undefined],
      [0, 2, true, true],
      [1, 1, false, undefined],
      [1, 2, false, true],
      [2, 2, false, true],
    ]);
  });

  it('viewers at all gateways get the event once', async () => {
    await armNew(urlOf(0), 'seen', 'views', 1);
    const events: MilestoneEvent[][] = await Promise.all(
      gateways.map(async ({ url }) => {
        const got: MilestoneEvent[] = [];
        const socket = connect(url);
        socket.on('milestone', (event) => void got.push(event));
        expectOk(await socket.emitWithAck('subscribe', { posts: ['seen'] }));
        return got;
      }),
    );
    const { reader } = await StreamReader.open(`${urlOf(2)}/v1/stream?posts=seen`);
    await reader.frame();
    const { counts } = expectOk(await connect(urlOf(0)).emitWithAck('view', { post: 'seen' }));
    const event = await reader.milestone();
    expect(event).toMatchObject({ post: 'seen', metric: 'views', n: 1, v: counts.v });
    await until(() => events.every((got) => got.length > 0), 'every viewer has got it');
    expect(events).toEqual(gateways.map(() => [event]));
    reader.close();
  });

  it('of 20 clients at all gateways one wins, and all gateways name it, as final after 30 s', async () => {
    await armNew(urlOf(0), 'race', 'views', 100);
    const runners = Array.from({ length: 20 }, (_, i) => {
      const actor = `runner-${i}`;
      return { actor, socket: connect(urlOf(i), { actor, session: randomUUID() }) };
    });
    const winners: string[] = [];
    await Promise.all(
      runners.map(async ({ actor, socket }) => {
        for (let seq = 1; seq <= 10; seq++) {
          const { reached } = expectOk(await socket.emitWithAck('view', { post: 'race', seq }));
          if (reached === true) winners.push(actor);
        }
      }),
    );
    expect(winners).toHaveLength(1);
    const actor = String(toInt64(digest64(winners[0]!)));
    const read = (gateway: number) => readWinners(urlOf(gateway), 'race', 'views');
    expect((await read(0)).reached).toEqual([expect.objectContaining({ n: 100, total: 100, actor, final: false })]);
    await until(async () => (await read(1)).reached[0]!.final, 'the record is final');
    for (const gateway of gateways.keys()) {
      expect(await read(gateway)).toEqual({
        armed: [],
        reached: [expect.objectContaining({ n: 100, total: 100, actor, final: true })],
      });
    }
  });
});
