import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { ARMED_MAX, ARMED_PER_BUCKET_MAX, MILESTONES_MAX } from '../../src/counters/milestones.js';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { runCommand } from '../support/command.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { ADMIN_TOKEN, administer, arm, armNew, readMilestones, readWinners } from '../support/milestones.js';
import { until } from '../support/until.js';

const BUCKETS = 64;
const POST_RULE = 'must be a string of 1 to 64 characters out of A-Z a-z 0-9 _ . : -, other than . and ..';
const AT_RULE = 'must be a whole number from 1 to 9007199254740991';
const PEER_TOKEN = 'a-token-of-all-the-regions';
/** A region whose only peer does not answer. */
const REGION_EU = { ADMIN_TOKEN, REGION: 'eu', PEERS: 'us=http://127.0.0.1:9', PEER_TOKEN };

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ ADMIN_TOKEN });
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

async function addViews(post: string, by: number): Promise<void> {
  const socket = connect(gateway.url);
  expectOk(await socket.emitWithAck('add', { post, metric: 'views', by }));
  socket.close();
}

function conflict(message: string) {
  return { status: 409, body: { code: 'CONFLICT', message, retryable: false } };
}

function badRequest(message: string) {
  return { status: 400, body: { code: 'BAD_REQUEST', message, retryable: false } };
}

describe('arming a milestone', () => {
  it('arming is 201, and 200 if it was armed before', async () => {
    const body = { post: 'new', metric: 'views', armed: [100] };
    expect(await arm(gateway.url, 'new', 'views', 100)).toEqual({ status: 201, body });
    expect(await arm(gateway.url, 'new', 'views', 100)).toEqual({ status: 200, body });
    const both = { ...body, armed: [50, 100] };
    expect(await arm(gateway.url, 'new', 'views', 50)).toEqual({ status: 201, body: both });
    expect(await readMilestones(gateway.url, 'new', 'views')).toEqual({ armed: [50, 100], reached: [] });
    expect(await readWinners(gateway.url, 'new', 'views')).toEqual({ armed: [50, 100], reached: [] });
  });

  it('arming has a line in the log, with its post and number', async () => {
    await armNew(gateway.url, 'logged', 'likes', 7);
    const linesOf = (): string[] => gateway.log.filter((line) => line.includes('logged'));
    await until(() => linesOf().length > 0, 'the line is there');
    expect(linesOf().map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({
        level: 30,
        context: 'milestones',
        msg: 'likes of post logged: a milestone is armed at 7',
      }),
    ]);
  });

  it('the greatest number is 2^53 - 1', async () => {
    expect(await arm(gateway.url, 'far', 'views', Number.MAX_SAFE_INTEGER)).toMatchObject({ status: 201 });
    const beyond = '{"post":"far","metric":"views","at":9007199254740993}';
    expect(await administer(gateway.url, 'PUT', '', beyond)).toEqual(badRequest(`at ${AT_RULE}`));
  });

  it('a disarmed milestone is not armed any more, and disarming it again is 204, too', async () => {
    await armNew(gateway.url, 'disarmed', 'views', 5, 9);
    for (let time = 1; time <= 2; time++) {
      expect(await administer(gateway.url, 'DELETE', '?post=disarmed&metric=views&at=5')).toEqual({
        status: 204,
        body: null,
      });
      expect(await readMilestones(gateway.url, 'disarmed', 'views')).toEqual({ armed: [9], reached: [] });
    }
    await addViews('disarmed', 8);
    expect(await readMilestones(gateway.url, 'disarmed', 'views')).toEqual({ armed: [9], reached: [] });
  });
});

describe('a milestone that cannot be armed', () => {
  it('a number at or below the count is a CONFLICT', async () => {
    await addViews('passed', 30);
    for (const at of [1, 30]) {
      expect(await arm(gateway.url, 'passed', 'views', at)).toEqual(
        conflict('at must be above 30, the count of views now'),
      );
    }
    expect(await arm(gateway.url, 'passed', 'views', 31)).toMatchObject({ status: 201 });
  });

  it('a number that was reached before is a CONFLICT, also when the count has left it', async () => {
    await armNew(gateway.url, 'left', 'likes', 1);
    const socket = connect(gateway.url);
    expectOk(await socket.emitWithAck('like', { post: 'left' }));
    expectOk(await socket.emitWithAck('unlike', { post: 'left' }));
    expect(await arm(gateway.url, 'left', 'likes', 1)).toEqual(
      conflict('at must be another number: likes reached 1 before, and its record stays'),
    );
  });

  it('more than 16 armed and 64 armed or reached of one metric of a post are a CONFLICT', async () => {
    const numbers = Array.from({ length: MILESTONES_MAX + 1 }, (_, i) => i + 1);
    for (let first = 0; first < MILESTONES_MAX; first += ARMED_MAX) {
      await armNew(gateway.url, 'full', 'views', ...numbers.slice(first, first + ARMED_MAX));
      if (first === 0) {
        expect(await arm(gateway.url, 'full', 'views', 1_000)).toEqual(
          conflict('at most 16 milestones of views of this post are armed at a time: disarm one first'),
        );
      }
      await addViews('full', ARMED_MAX);
    }
    expect(await arm(gateway.url, 'full', 'views', 1_000)).toEqual(
      conflict(
        'at most 64 milestones of views of this post are armed or reached, and records stay: disarm one first, or use another post',
      ),
    );
    expect(await arm(gateway.url, 'full', 'likes', 1_000)).toMatchObject({ status: 201 });
  });

  it('more than 1,000 armed in a bucket are a CONFLICT', async () => {
    const numbers = Array.from({ length: ARMED_MAX }, (_, i) => i + 1);
    const posts: string[] = [];
    for (let i = 0; posts.length * ARMED_MAX < ARMED_PER_BUCKET_MAX; i++) {
      if (bucketOf(`bucket-${i}`, BUCKETS) === 0) posts.push(`bucket-${i}`);
    }
    const last = posts.pop()!;
    await Promise.all(posts.map((post) => armNew(gateway.url, post, 'views', ...numbers)));
    await armNew(gateway.url, last, 'views', ...numbers.slice(0, ARMED_PER_BUCKET_MAX - posts.length * ARMED_MAX));
    const full = conflict('at most 1000 milestones of a bucket are armed at a time: disarm one of this bucket first');
    expect(await arm(gateway.url, last, 'likes', 1)).toEqual(full);
    expect(await administer(gateway.url, 'DELETE', `?post=${posts[0]}&metric=views&at=1`)).toMatchObject({
      status: 204,
    });
    expect(await arm(gateway.url, last, 'likes', 1)).toMatchObject({ status: 201 });
  });

  it('with PEERS the region that is called becomes the home, and a tally is only armed in strict', async () => {
    const { url } = await startGateway(REGION_EU);
    const put = (more: object): ReturnType<typeof administer> =>
      administer(url, 'PUT', '', { post: '42', metric: 'views', at: 9, ...more });
    expect(await put({ mode: 'order' })).toEqual(badRequest('mode must be strict: views is no toggle'));
    expect(await put({ home: 'us' })).toEqual(
      badRequest('home must be eu: to make us the home, send the request to a gateway of us'),
    );
    expect(await put({ from: 9 })).toEqual(badRequest('from must be below at, and is only for mode strict'));
    expect(await put({})).toMatchObject({ status: 201 });
    expect(await readWinners(url, '42', 'views')).toEqual({
      ...{ armed: [9], reached: [], home: 'eu', mode: 'strict', waiting_for: ['us'] },
    });
    expect(await put({ metric: 'likes' })).toMatchObject({ status: 201 });
    expect(await readWinners(url, '42', 'likes')).toMatchObject({ home: 'eu', mode: 'order' });
    expect(await administer(gateway.url, 'PUT', '', { post: '42', metric: 'views', at: 9, mode: 'strict' })).toEqual(
      badRequest('mode, home and from must be left out: this gateway has no PEERS'),
    );
  });
});

describe('a bad request for milestones', () => {
  const metricRule = 'metric must be one of: likes, views';

  it.each([
    ['{}', `post ${POST_RULE}`],
    ['[]', 'the payload must be { "post": "42", "metric": "views", "at": 1000000 }'],
    ['{"post":', 'the body must be JSON in UTF-8: { "post": "42", "metric": "views", "at": 1000000 }'],
    ['{"post":"a b","metric":"views","at":1}', `post ${POST_RULE}`],
    ['{"post":"42","at":1}', 'metric must be the name of a metric'],
    ['{"post":"42","metric":"hearts","at":1}', metricRule],
    ['{"post":"42","metric":"live","at":1}', metricRule],
    ['{"post":"42","metric":"views"}', `at ${AT_RULE}`],
    ['{"post":"42","metric":"views","at":"9"}', `at ${AT_RULE}`],
    ['{"post":"42","metric":"views","at":0}', `at ${AT_RULE}`],
    ['{"post":"42","metric":"views","at":1.5}', `at ${AT_RULE}`],
    [
      '{"post":"42","metric":"views","at":1,"note":"strict"}',
      '"note" is not a field; expected one of: post, metric, at, mode, home, from',
    ],
  ])('the body %s to be armed is a BAD_REQUEST', async (body, message) => {
    expect(await administer(gateway.url, 'PUT', '', body)).toEqual(badRequest(message));
  });

  it.each([
    ['GET', '', metricRule],
    ['GET', '?post=42&metric=live', metricRule],
    ['GET', '?post=42&metric=views&metric=likes', metricRule],
    ['GET', '?metric=views', `post ${POST_RULE}`],
    ['GET', '?post=a%20b&metric=views', `post ${POST_RULE}`],
    ['DELETE', '?post=42&metric=hearts&at=1', metricRule],
    ['DELETE', '?metric=views&at=1', `post ${POST_RULE}`],
    ['DELETE', '?post=42&metric=views', `at ${AT_RULE}`],
    ['DELETE', '?post=42&metric=views&at=01', `at ${AT_RULE}`],
    ['DELETE', '?post=42&metric=views&at=1e3', `at ${AT_RULE}`],
    ['DELETE', '?post=42&metric=views&at=9007199254740992', `at ${AT_RULE}`],
  ] as const)('the request %s %s is a BAD_REQUEST', async (method, query, message) => {
    expect(await administer(gateway.url, method, query)).toEqual(badRequest(message));
  });

  it.each([
    ['/v1/a%20b/views/milestones', `post ${POST_RULE}`],
    ['/v1/42/hearts/milestones', 'metric must be one of: counter, likes, views, live'],
    ['/v1/42/live/milestones', 'metric must be another one: live has no milestones'],
  ])('the request GET %s is a BAD_REQUEST', async (path, message) => {
    const response = await fetch(gateway.url + path);
    expect({ status: response.status, body: await response.json() }).toEqual(badRequest(message));
  });

  it('without the token of the operator nothing is armed, disarmed or read', async () => {
    const body = JSON.stringify({ post: 'guarded', metric: 'views', at: 3 });
    for (const init of [{ method: 'PUT', body }, { method: 'DELETE' }, { method: 'GET' }]) {
      const { status } = await fetch(`${gateway.url}/admin/milestones?post=guarded&metric=views&at=3`, init);
      expect(status).toBe(401);
    }
    expect(await readMilestones(gateway.url, 'guarded', 'views')).toEqual({ armed: [], reached: [] });
  });
});

describe('commands for milestones', () => {
  it('a milestone is armed, listed and disarmed by commands', async () => {
    const env = { ADMIN_TOKEN, TALLYCAST_URL: gateway.url };
    const print = (line: object) => ({ status: 0, stdout: `${JSON.stringify(line)}\n`, stderr: '' });
    const milestones = (...args: string[]) => runCommand(['milestones', ...args], env);
    const armed = print({ post: '-5', metric: 'views', armed: [3] });
    expect(await milestones('arm', '-5', 'views', '3')).toEqual(armed);
    expect(await milestones('arm', '-5', 'views', '3', '--url', gateway.url)).toEqual(armed);
    expect(await milestones('list', '-5', 'views')).toEqual(print({ armed: [3], reached: [] }));
    expect(await milestones('disarm', '-5', 'views', '3')).toEqual(print({ done: true }));
    expect(await milestones('list', '-5', 'views')).toEqual(print({ armed: [], reached: [] }));
  });

  it('a command that the gateway rejects prints why, and exits with code 1', async () => {
    const env = { ADMIN_TOKEN, TALLYCAST_URL: gateway.url };
    for (const at of ['0', '1.5', 'many', '9007199254740993']) {
      expect(await runCommand(['milestones', 'arm', '42', 'views', at], env)).toEqual({
        status: 1,
        stdout: '',
        stderr: `BAD_REQUEST: at ${AT_RULE}\n`,
      });
    }
  });
});

describe('commands for milestones with PEERS', () => {
  let url = '';

  beforeAll(async () => {
    ({ url } = await startGateway(REGION_EU));
  });

  const milestones = (...args: string[]) => runCommand(['milestones', ...args], { ADMIN_TOKEN, TALLYCAST_URL: url });

  it('with PEERS commands give mode, home and from, and list which regions the home waits for', async () => {
    const armed = async (metric: string, at: string, ...flags: string[]): Promise<unknown> =>
      JSON.parse((await milestones('arm', '42', metric, at, ...flags)).stdout);
    const list = async (metric: string): Promise<unknown> =>
      JSON.parse((await milestones('list', '42', metric)).stdout);
    expect(await armed('views', '90', '--mode', 'strict', '--from=7')).toMatchObject({ armed: [90] });
    expect(await list('views')).toEqual({ armed: [90], reached: [] });
    expect(await armed('views', '91', '--from', '89')).toMatchObject({ armed: [90, 91] });
    expect(await armed('likes', '9', '--mode=order', '--home=eu')).toMatchObject({ armed: [9] });
    expect(await list('likes')).toEqual({ armed: [9], reached: [], home: 'eu', mode: 'order', waiting_for: ['us'] });
  });

  it.each([
    [['--mode', 'order'], '--mode must be strict: views is no toggle'],
    [['--mode', 'loose'], '--mode must be order or strict'],
    [['--home', 'us'], '--home must be eu: to make us the home, send the request to a gateway of us'],
    [['--from', '9'], '--from must be below at, and is only for mode strict'],
    [['--from', 'soon'], `--from ${AT_RULE}`],
  ])('with PEERS the flags %j of a view are rejected with the name of the flag', async (flags, message) => {
    expect(await milestones('arm', '42', 'views', '9', ...flags)).toEqual({
      ...{ status: 1, stdout: '', stderr: `BAD_REQUEST: ${message}\n` },
    });
  });
});

describe('the ports and paths of milestones', () => {
  it('below BASE_PATH and with OPS_PORT each route has its port', async () => {
    const { url, log } = await startGateway({ ADMIN_TOKEN, BASE_PATH: '/live', OPS_PORT: '0' });
    const { opsUrl } = JSON.parse(log.find((line) => line.includes('"listening"'))!) as { opsUrl: string };
    const base = new URL('/live', url).href;
    expect(await arm(base, 'below', 'views', 3)).toMatchObject({ status: 404 });
    expect(await arm(opsUrl, 'below', 'views', 3)).toMatchObject({ status: 201 });
    expect(await readMilestones(base, 'below', 'views')).toEqual({ armed: [3], reached: [] });
    const { status } = await fetch(`${opsUrl}/v1/below/views/milestones`);
    expect(status).toBe(404);
  });
});
