import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { digest64 } from '../../src/common/digest64.js';
import { toInt64 } from '../../src/counters/ids.js';
import type { MineEvent } from '../../src/protocol/messages.js';
import { type Client, closeClients, connect, expectOk, parseTotals, untilConnected } from '../support/clients.js';
import { allAccepted, postEvents, readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { countOperations, readMetrics } from '../support/metrics.js';
import { ADMIN_TOKEN, armNew, readWinners } from '../support/milestones.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const NEW_POSTS_MAX = 5;
const METRICS = 'likes:toggle,views:tally,readers:unique,reads:unique@30m,yes:choice@vote,no:choice@vote';

/** A gateway with an embedded store, whose log is in Redis. */
describe('a gateway with a log', () => {
  let log: RedisServer;
  let gateway: GatewayProcess;

  beforeAll(async () => {
    log = await startRedis();
    const limits = { TRUST_PROXY: '127.0.0.1', MAX_NEW_POSTS_PER_ADDRESS: String(NEW_POSTS_MAX) };
    gateway = await startGateway({ LOG_URL: log.url, LOG_MS: '20', METRICS, ADMIN_TOKEN, ...limits });
  });

  afterAll(async () => {
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  async function openActor(actor: string): Promise<{ socket: Client; mine: MineEvent[] }> {
    const socket = connect(gateway.url, { actor });
    const mine: MineEvent[] = [];
    socket.on('mine', (event) => mine.push(event));
    await untilConnected(socket);
    return { socket, mine };
  }

  it('viewers and the connections of an actor see what an event has changed', async () => {
    const { socket, mine } = await openActor('ada');
    let likes = 0;
    socket.on('counts', ([update]) => (likes = parseTotals(update!).likes));
    expectOk(await socket.emitWithAck('subscribe', { posts: ['seen'] }));
    const events = [{ post: 'seen', metric: 'likes' }, { post: 'seen' }];
    expect(await postEvents(gateway.url, { actor: 'ada', events })).toEqual(allAccepted(2));
    await until(() => mine.length > 0 && likes === 1, 'the like is shown');
    expect(mine).toEqual([{ post: 'seen', metric: 'likes', on: true }]);
  });

  it('of events in the log that pass a milestone one is the winner, and the metrics report it', async () => {
    await armNew(gateway.url, 'raffle', 'views', 30);
    await armNew(gateway.url, 'raffle', 'readers', 3);
    const name = 'tallycast_milestones_reached_total';
    const before = (await readMetrics(gateway.url)).get(name)!;
    const views = Array.from({ length: 10 }, () => ({ post: 'raffle' }));
    const events = [{ post: 'raffle', metric: 'readers' }, ...views];
    const actors = Array.from({ length: 6 }, (_, i) => `runner-${i}`);
    const answers = await Promise.all(actors.map((actor) => postEvents(gateway.url, { actor, events })));
    expect(answers).toEqual(actors.map(() => allAccepted(events.length)));
    await until(async () => (await readCount(gateway.url, 'raffle', 'views')) === 60, 'all are counted');
    // The log does not keep who adds to a tally.
    const byViews = await readWinners(gateway.url, 'raffle', 'views');
    expect(byViews).toMatchObject({ armed: [], reached: [{ n: 30, total: 30, value: 1, kind: 'add', actor: null }] });
    const byReaders = await readWinners(gateway.url, 'raffle', 'readers');
    expect(byReaders).toMatchObject({ armed: [], reached: [{ n: 3, total: 3, kind: 'set' }] });
    expect(actors.map((actor) => String(toInt64(digest64(actor))))).toContain(byReaders.reached[0]!.actor);
    await until(async () => (await readMetrics(gateway.url)).get(name) === before + 2, 'the metrics have them');
  });

  it('uniques count an actor once, and a choice notifies its actor of the option that it has put off', async () => {
    const { socket, mine } = await openActor('eve');
    const send = (...metrics: string[]): Promise<unknown> =>
      postEvents(gateway.url, { actor: 'eve', events: metrics.map((metric) => ({ post: 'poll', metric })) });
    for (const answer of [await send('readers', 'reads', 'yes'), await send('readers', 'reads', 'no')])
      expect(answer).toEqual(allAccepted(3));
    const changes = [
      ['yes', true],
      ['no', true],
      ['yes', false],
    ];
    await until(() => mine.length >= changes.length, 'the votes are shown');
    expect(mine).toEqual(changes.map(([metric, on]) => ({ post: 'poll', metric, on })));
    for (const metric of ['readers', 'reads'])
      expect(await socket.emitWithAck('add', { post: 'poll', metric })).toMatchObject({
        ...{ ok: true, applied: false, duplicate: false, counts: { readers: 1, reads: 1, yes: 0, no: 1 } },
      });
  });

  it('an event of the log is the operation of a socket or a PUT with the same session or key', async () => {
    const session = 'session-of-a-page';
    const socket = connect(gateway.url, { actor: 'bob', session });
    expectOk(await socket.emitWithAck('view', { post: 'once', seq: 1 }));
    const body = {
      actor: 'bob',
      session,
      events: [
        { post: 'once', seq: 1 },
        { post: 'once', seq: 2 },
      ],
    };
    for (let i = 0; i < 2; i++) expect(await postEvents(gateway.url, body)).toEqual(allAccepted(2));
    await until(async () => (await readCount(gateway.url, 'once', 'views')) === 2, 'the second view is counted');
    expect(await socket.emitWithAck('view', { post: 'once', seq: 2 })).toMatchObject({ ok: true, duplicate: true });
    expect(await readCount(gateway.url, 'once', 'views')).toBe(2);
  });

  it('events count as accepted, and as no other result when they are applied', async () => {
    const before = await readMetrics(gateway.url);
    expect(await postEvents(gateway.url, [{ post: 'measured' }, { post: 'measured' }])).toEqual(allAccepted(2));
    await until(async () => (await readCount(gateway.url, 'measured', 'views')) === 2, 'the views are counted');
    const after = await readMetrics(gateway.url);
    const growth = (...results: string[]): number =>
      countOperations(after, ...results) - countOperations(before, ...results);
    expect([growth('accepted'), growth('applied', 'unchanged', 'duplicate')]).toEqual([2, 0]);
    const applied = 'tallycast_log_applied_total';
    expect(after.get(applied)! - before.get(applied)!).toBe(2);
    await until(async () => (await readMetrics(gateway.url)).get('tallycast_log_lag_seconds') === 0, 'nothing waits');
  });

  it('an address pays for the new posts of its events', async () => {
    const headers = { 'Content-Type': 'application/json', 'X-Forwarded-For': '203.0.113.1' };
    const post = (name: string): Promise<number> =>
      postEvents(gateway.url, [{ post: name }], headers).then(({ status }) => status);
    let created = 0;
    await until(async () => (await post(`new-${(created += 1)}`)) === 429, 'new posts are rejected');
    expect(created).toBeGreaterThan(NEW_POSTS_MAX);
    expect(await post('new-1')).toBe(202);
  });
});
