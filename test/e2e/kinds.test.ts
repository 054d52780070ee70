import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ErrorBody } from '../../src/protocol/errors.js';
import type { MineEvent, OperationResponse } from '../../src/protocol/messages.js';
import { type Client, closeClients, connect, expectOk, untilConnected } from '../support/clients.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { until } from '../support/until.js';

const CHOICES = 'yes:choice@vote,no:choice@vote,maybe:choice@vote';
const METRICS = `likes:toggle,views:unique@30m,readers:unique,${CHOICES},shares:tally`;
const WINDOW_MS = 30 * 60_000;
const RELOADS = 20;
const CLOCK_OFFSET = new URL('../support/clock-offset.mjs', import.meta.url).href;

let directory: string;
let env: Record<string, string>;
let gateway: GatewayProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallycast-clock-'));
  env = { METRICS, REGION: 'eu', NODE_OPTIONS: `--import ${CLOCK_OFFSET}`, CLOCK_OFFSET_DIR: directory };
  gateway = await startGateway(env);
});

afterAll(async () => {
  await closeClients();
  await stopAll();
  await rm(directory, { recursive: true });
});

/** One request that counts an actor in a unique. */
type Way = (post: string, metric: string, actor: string | null) => Promise<Response>;

function withActor(actor: string | null): Record<string, string> {
  return actor === null ? {} : { 'Actor-Id': actor };
}

function put(post: string, metric: string, actor: string | null, action = 'increment'): Promise<Response> {
  const headers = { 'Content-Type': 'application/json', ...withActor(actor) };
  return fetch(`${gateway.url}/v1/${post}/${metric}`, { method: 'PUT', headers, body: JSON.stringify({ action }) });
}

function sendEvents(actor: string | null, events: readonly object[]): Promise<Response> {
  const body = JSON.stringify({ ...(actor !== null && { actor }), events });
  return fetch(`${gateway.url}/v1/events`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
}

const WAYS: readonly (readonly [string, Way])[] = [
  ['PUT', put],
  ['POST /v1/events', (post, metric, actor) => sendEvents(actor, [{ post, metric }])],
  [
    'a line of POST /v1/events',
    (post, metric, actor) => {
      const body = JSON.stringify({ post, metric });
      return fetch(`${gateway.url}/v1/events`, { method: 'POST', headers: withActor(actor), body });
    },
  ],
  [
    'POST /view',
    (post, metric, actor) =>
      fetch(`${gateway.url}/view?post=${post}&metric=${metric}`, { method: 'POST', headers: withActor(actor) }),
  ],
  [
    'the picture',
    (post, metric, actor) => fetch(`${gateway.url}/v1/${post}/${metric}.gif`, { headers: withActor(actor) }),
  ],
];

async function readUniques(post: string): Promise<number[]> {
  return Promise.all(['views', 'readers'].map((metric) => readCount(gateway.url, post, metric)));
}

/** Opens a page again: a new connection with a new session. */
async function reload(post: string, actor: string): Promise<readonly OperationResponse[]> {
  const socket = connect(gateway.url, { actor, session: randomUUID() });
  const viewed = expectOk(await socket.emitWithAck('view', { post, seq: 1 }));
  const read = expectOk(await socket.emitWithAck('add', { post, metric: 'readers', seq: 2 }));
  socket.close();
  return [viewed, read];
}

describe('a unique', () => {
  it(`${RELOADS} reloads of a page are one view and one reader`, async () => {
    const answers = (await Promise.all(Array.from({ length: RELOADS }, () => reload('reloaded', 'ada')))).flat();
    expect(answers.filter(({ applied }) => applied)).toHaveLength(2);
    expect(answers.filter(({ duplicate }) => duplicate)).toEqual([]);
    expect(answers.filter((answer) => 'on' in answer)).toEqual([]);
    expect(await readUniques('reloaded')).toEqual([1, 1]);
  });

  it('an operation with the same seq is a duplicate, and a further one is not', async () => {
    const auth = { actor: 'ada', session: randomUUID() };
    const outcomes: boolean[][] = [];
    for (const seq of [1, 1, 3]) {
      const socket = connect(gateway.url, auth);
      const viewed = expectOk(await socket.emitWithAck('view', { post: 'resent', seq }));
      const read = expectOk(
        await socket.emitWithAck('add', { post: 'resent', metric: 'readers', by: 1, seq: seq + 1 }),
      );
      outcomes.push([viewed, read].flatMap(({ applied, duplicate }) => [applied, duplicate]));
      socket.close();
    }
    expect(outcomes).toEqual([
      [true, false, true, false],
      [false, true, false, true],
      [false, false, false, false],
    ]);
  });

  it.each(WAYS)('%s counts each actor once', async (name, count) => {
    const post = `by-${WAYS.findIndex(([way]) => way === name)}`;
    for (const metric of ['views', 'readers'])
      for (const actor of ['ada', 'grace', 'ada']) expect((await count(post, metric, actor)).ok).toBe(true);
    expect(await readUniques(post)).toEqual([2, 2]);
  });

  it('an actor counts once, however it is counted', async () => {
    for (const [, count] of WAYS)
      for (const metric of ['views', 'readers']) expect((await count('all-ways', metric, 'ada')).ok).toBe(true);
    const [viewed, read] = await reload('all-ways', 'ada');
    expect([viewed!.applied, read!.applied]).toEqual([false, false]);
    expect(await readUniques('all-ways')).toEqual([1, 1]);
  });

  it.each(WAYS)('%s without an actor is an error that names the field', async (_, count) => {
    for (const [metric, kind] of [
      ['readers', 'unique, which counts an actor once'],
      ['views', 'unique@30m, which counts an actor once in a window'],
    ] as const) {
      const response = await count('nobody', metric, null);
      const { code, message } = (await response.json()) as ErrorBody;
      expect([response.status, code]).toEqual([400, 'BAD_REQUEST']);
      expect(message).toMatch(/\bActor-Id\b.* must name the actor: /);
      expect(message).toContain(`${metric} is a ${kind}`);
    }
    expect(await readUniques('nobody')).toEqual([0, 0]);
  });

  it.each<[string, () => Promise<Response>, RegExp]>([
    [
      'a decrement',
      () => put('hat', 'readers', 'ada', 'decrement'),
      /^action .*: readers is a unique, which only grows$/,
    ],
    [
      'by 2',
      () => sendEvents('ada', [{ post: 'hat', metric: 'readers', by: 2 }]),
      /by must be 1: readers is a unique,/,
    ],
    ['on', () => sendEvents('ada', [{ post: 'hat', on: true }]), /on must be left out: views is a unique@30m,/],
  ])('%s is an error over HTTP', async (_, request, message) => {
    const response = await request();
    expect([response.status, await response.json()]).toEqual([
      400,
      { code: 'BAD_REQUEST', message: expect.stringMatching(message), retryable: false },
    ]);
  });

  it.each<[string, (socket: Client) => Promise<unknown>, RegExp]>([
    [
      'by 2',
      (s) => s.emitWithAck('add', { post: 'hat', metric: 'readers', by: 2 }),
      /^by must be 1: readers is a unique,/,
    ],
    [
      'set',
      (s) => s.emitWithAck('set', { post: 'hat', metric: 'readers', on: true }),
      /^metric must be one of .*maybe$/,
    ],
    [
      'set off',
      (s) => s.emitWithAck('set', { post: 'hat', metric: 'views', on: false }),
      /^metric must be one of .*maybe$/,
    ],
    [
      'add to a choice',
      (s) => s.emitWithAck('add', { post: 'hat', metric: 'yes' }),
      /tallies: views, readers, shares$/,
    ],
  ])('%s is an error on a socket', async (_, request, message) => {
    const answer = await request(connect(gateway.url, { actor: 'ada' }));
    const error = { code: 'BAD_REQUEST', message: expect.stringMatching(message), retryable: false };
    expect(answer).toEqual({ ok: false, error });
  });

  it('the API document says which metrics need an actor', async () => {
    const document = await (await fetch(`${gateway.url}/docs-json`)).text();
    expect(document).toContain('A unique (`readers`) counts each actor once, for good');
    expect(document).toContain('Each event of `views`, `readers` counts its actor, and is rejected without one.');
  });

  it('visits are a kind of operation in /metrics', async () => {
    await reload('measured', 'ada');
    await reload('measured', 'ada');
    const metrics = await readMetrics(gateway.url);
    for (const result of ['applied', 'unchanged'])
      expect(metrics.get(`tallycast_operations_total{kind="visit",result="${result}"}`)).toBeGreaterThan(0);
  });
});

interface Voter {
  readonly socket: Client;
  readonly mine: MineEvent[];
}

async function openVoter(actor?: string): Promise<Voter> {
  const socket = connect(gateway.url, actor === undefined ? {} : { actor });
  const mine: MineEvent[] = [];
  socket.on('mine', (event) => mine.push(event));
  await untilConnected(socket);
  return { socket, mine };
}

async function vote({ socket }: Voter, metric: string, on = true): Promise<{ applied: boolean; votes: unknown[] }> {
  const { applied, on: isOn, counts } = expectOk(await socket.emitWithAck('set', { post: 'poll', metric, on }));
  expect(isOn).toBe(on);
  return { applied, votes: ['yes', 'no', 'maybe'].map((option) => counts[option]) };
}

function toMine(...changes: readonly [metric: string, on: boolean][]): MineEvent[] {
  return changes.map(([metric, on]) => ({ post: 'poll', metric, on }));
}

describe('a choice', () => {
  it('an actor has one option, and all of its connections are notified of each that changed', async () => {
    const [phone, laptop, stranger] = [await openVoter('eve'), await openVoter('eve'), await openVoter('bob')];
    expect(await vote(phone, 'yes')).toEqual({ applied: true, votes: [1, 0, 0] });
    expect(await vote(stranger, 'yes')).toEqual({ applied: true, votes: [2, 0, 0] });
    expect(await vote(laptop, 'no')).toEqual({ applied: true, votes: [1, 1, 0] });
    expect((await put('poll', 'maybe', 'eve')).status).toBe(200);
    expect(await vote(phone, 'yes', false)).toEqual({ applied: false, votes: [1, 0, 1] });
    expect(await vote(phone, 'maybe', false)).toEqual({ applied: true, votes: [1, 0, 0] });
    const common = toMine(['maybe', true], ['no', false]);
    const onPhone = [...toMine(['no', true], ['yes', false]), ...common];
    const onLaptop = [...toMine(['yes', true], ['yes', false]), ...common, ...toMine(['maybe', false])];
    await until(() => laptop.mine.length >= onLaptop.length, 'the laptop is notified');
    // The answers to these follow all events that were emitted before.
    for (const { socket } of [phone, stranger]) expectOk(await socket.emitWithAck('unsubscribe', { posts: ['poll'] }));
    expect([phone, laptop, stranger].map(({ mine }) => mine)).toEqual([onPhone, onLaptop, []]);
  });

  it('a connection without an actor is notified of the option that it has put off', async () => {
    const voter = await openVoter();
    for (const metric of ['yes', 'no']) expect(await vote(voter, metric)).toMatchObject({ applied: true });
    expectOk(await voter.socket.emitWithAck('unsubscribe', { posts: ['poll'] }));
    expect(voter.mine).toEqual(toMine(['yes', false]));
  });

  it('a snapshot lists toggles and choices in `mine`, and no uniques', async () => {
    const { socket, mine } = await openVoter('mia');
    for (const metric of ['likes', 'no']) expectOk(await socket.emitWithAck('set', { post: 'own', metric, on: true }));
    for (const metric of ['views', 'readers', 'shares'])
      expectOk(await socket.emitWithAck('add', { post: 'own', metric }));
    const { counts } = expectOk(await socket.emitWithAck('subscribe', { posts: ['own'] }));
    expect(counts).toMatchObject([{ views: 1, readers: 1, mine: ['likes', 'no'] }]);
    expect(mine).toEqual([]);
  });
});

describe('a gateway that is started again', () => {
  it('counts an actor again after its window, and a tally may have become a unique with a window', async () => {
    for (let i = 0; i < 3; i++) await put('later', 'shares', 'ada');
    await reload('later', 'ada');
    await gateway.kill('SIGTERM');
    await writeFile(join(directory, 'eu'), String(WINDOW_MS));
    const changed = METRICS.replace('shares:tally', 'shares:unique@1h');
    gateway = await startGateway({ ...env, DATA_DIR: gateway.dataDir, METRICS: changed });
    const answers = [...(await reload('later', 'ada')), ...(await reload('later', 'ada'))];
    expect(answers.map(({ applied }) => applied)).toEqual([true, false, false, false]);
    expect(await readUniques('later')).toEqual([2, 1]);
    for (let i = 0; i < 2; i++) await put('later', 'shares', 'ada');
    expect(await readCount(gateway.url, 'later', 'shares')).toBe(4);
  });

  it('ends with a line about the data when a tally has become a unique for good', async () => {
    await gateway.kill('SIGTERM');
    const changed = METRICS.replace('views:unique@30m', 'views:unique');
    const failure = startGateway({ ...env, DATA_DIR: gateway.dataDir, METRICS: changed, LOG_LEVEL: 'silent' });
    await expect(failure).rejects.toThrow(
      /^DATA_DIR .*: METRICS: views of this data may be tally or unique@WINDOW; add/m,
    );
  });
});
