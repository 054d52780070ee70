import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Request, Response } from 'express';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { NEVER } from 'rxjs';
import { AddressLimiter } from '../access/address-limiter.js';
import { Authenticator } from '../access/authenticator.js';
import { SuspicionLog } from '../access/suspicion-log.js';
import { ClosingFlag } from '../common/closing-flag.js';
import { systemClock } from '../common/clock.js';
import { Metrics } from '../counters/metrics.js';
import { ActorStreams } from '../fanout/actor-streams.js';
import { Fanout } from '../fanout/fanout.js';
import { Presence } from '../fanout/presence.js';
import type { CounterStore, PostView } from '../store/counter-store.js';
import { parseCredentials } from './parameters.js';
import { StreamRegistry } from './stream-registry.js';

/** A read of the store, which the test lets succeed or fail. */
interface Read {
  readonly posts: readonly string[];
  resolve(views: PostView[]): void;
  reject(error: Error): void;
}

const ADDRESS = '203.0.113.1';
/** The room of the actor `ada`. */
const ROOM = 'actor:fdee430d40bd57de';

let reads: Read[];
let onRead: (() => void) | null;
let presence: Presence;
let addresses: AddressLimiter;
let streams: StreamRegistry;
let actorStreams: ActorStreams;
let server: Server;
let lifecycle: ClosingFlag;
/** The outcome of each call of `open`, and its response. */
let opened: { readonly outcome: Promise<unknown>; readonly response: Response }[];

const store = {
  read: (posts: readonly string[]) =>
    new Promise<PostView[]>((resolve, reject) => {
      reads.push({ posts, resolve, reject });
      onRead?.();
    }),
  watch: () => undefined,
  unwatch: () => undefined,
  reportViewers: () => undefined,
  changes: NEVER,
  milestones: { reached: NEVER },
} as unknown as CounterStore;

beforeEach(async () => {
  reads = [];
  opened = [];
  onRead = null;
  presence = new Presence(systemClock, true);
  const limits = { operationsPerSecond: 0, connectionsMax: 1, trustProxy: ['127.0.0.1'] };
  addresses = new AddressLimiter(limits, systemClock, () => undefined);
  const metrics = Metrics.parse('likes:toggle,views:unique,yes:choice@vote,no:choice@vote');
  const fanout = new Fanout(store, presence, systemClock, metrics, 10);
  lifecycle = new ClosingFlag();
  const suspicions = new SuspicionLog(systemClock, () => undefined);
  const authenticator = new Authenticator(null, {
    requireTokenToRead: false,
    actorKeys: 'hash',
    admitsGuests: false,
    visitorSecrets: null,
  });
  actorStreams = new ActorStreams();
  streams = new StreamRegistry(fanout, actorStreams, addresses, suspicions, authenticator, lifecycle, systemClock, {
    metrics,
  });
  server = createServer((request, response) => {
    const streamRequest = { posts: ['a', 'b'], isPresent: true, credentials: parseCredentials(request.headers) };
    const outcome = streams.open(request as Request, response as Response, streamRequest).catch((error: unknown) => {
      response.writeHead(503).end();
      return error;
    });
    opened.push({ outcome, response: response as Response });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function zeros({ posts }: Read): PostView[] {
  return posts.map((post) => ({
    counts: { post, e: 'x', v: 0, updatedAtMs: null, totals: [0, 0, 0, 0], live: 0 },
    on: 0,
  }));
}

/** Requests a stream and resolves when the read of its snapshot starts. */
async function openStream() {
  const readStarted = new Promise<void>((resolve) => (onRead = resolve));
  const { port } = server.address() as AddressInfo;
  const request = get({ host: '127.0.0.1', port, headers: { 'X-Forwarded-For': ADDRESS, 'Actor-Id': 'ada' } });
  request.on('error', () => undefined);
  const received = once(request, 'response') as Promise<[IncomingMessage]>;
  received.catch(() => undefined);
  await readStarted;
  return { request, received, read: reads.at(-1)!, ...opened.at(-1)! };
}

describe('a stream', () => {
  it('a stream is a viewer from the moment its snapshot is read', async () => {
    const { read, outcome } = await openStream();
    expect(presence.countViewers('a')).toBe(1);
    expect(streams.size).toBe(0);
    read.resolve(zeros(read));
    await outcome;
    expect(streams.size).toBe(1);
  });

  it('a stream is closed when its client leaves before the snapshot was read', async () => {
    const { request, response, read, outcome } = await openStream();
    const closed = once(response, 'close');
    request.destroy();
    await closed;
    expect(presence.countViewers('a')).toBe(0);
    expect(addresses.mayConnect(ADDRESS)).toBe(true);
    read.resolve(zeros(read));
    expect(await outcome).toBeUndefined();
    expect(streams.size).toBe(0);
  });

  it('a stream is closed when its client leaves later', async () => {
    const { request, response, read, outcome } = await openStream();
    read.resolve(zeros(read));
    await outcome;
    expect(addresses.mayConnect(ADDRESS)).toBe(false);
    const closed = once(response, 'close');
    request.destroy();
    await closed;
    expect(streams.size).toBe(0);
    expect(presence.countViewers('b')).toBe(0);
    expect(addresses.mayConnect(ADDRESS)).toBe(true);
  });

  it('a stream gets UNAVAILABLE when the store cannot be read, and is no viewer afterwards', async () => {
    const { received, response, read, outcome } = await openStream();
    const closed = once(response, 'close');
    read.reject(new Error('down'));
    expect(await outcome).toMatchObject({ body: { code: 'UNAVAILABLE', retryable: true } });
    const [message] = await received;
    message.resume();
    await closed;
    expect(message.statusCode).toBe(503);
    expect(presence.countViewers('a')).toBe(0);
  });

  it('a stream is rejected while the gateway drains, even if the drain starts during the read of its snapshot', async () => {
    const { read, outcome } = await openStream();
    lifecycle.startClosing();
    read.resolve(zeros(read));
    expect(await outcome).toMatchObject({ body: { code: 'OVERLOADED', retryAfterMs: 1_000 } });
    expect(streams.size).toBe(0);
  });

  it('a bye to the actor ends its open streams, and the connections of those that are not open yet', async () => {
    const { received, read, outcome, response } = await openStream();
    const closed = once(response, 'close');
    actorStreams.sendBye(ROOM, { reason: 'early', retryAfterMs: 0 });
    await closed;
    read.resolve(zeros(read));
    expect(await outcome).toBeUndefined();
    await expect(received).rejects.toThrow();

    const next = await openStream();
    actorStreams.sendMine(ROOM, { post: 'a', metric: 'likes', on: true });
    actorStreams.sendMine(ROOM, { post: 'not watched', metric: 'likes', on: true });
    next.read.resolve(zeros(next.read));
    await next.outcome;
    actorStreams.sendBye(ROOM, { reason: 'late', retryAfterMs: 5 });
    const [message] = await next.received;
    let text = '';
    for await (const chunk of message) text += String(chunk);
    const [, ...events] = text.split('\n\n');
    expect(events).toEqual([
      'event: mine\ndata: {"post":"a","metric":"likes","on":true}',
      'retry: 5\nevent: bye\ndata: {"reason":"late","retryAfterMs":5}',
      '',
    ]);
  });

  it('a stream begins with a snapshot, in whose first update are the rules, and ends with a bye', async () => {
    const { received, read, outcome } = await openStream();
    read.resolve(zeros(read));
    await outcome;
    const [message] = await received;
    streams.sendByeToAll('closing', () => 300);
    let text = '';
    for await (const chunk of message) text += String(chunk);
    expect(text).toBe(
      'event: counts\n' +
        'data: [{"post":"a","e":"x","v":0,"likes":0,"views":0,"yes":0,"no":0,"live":1,"mine":[],' +
        '"choices":{"vote":["yes","no"]},"uniques":["views"]},' +
        '{"post":"b","e":"x","v":0,"likes":0,"views":0,"yes":0,"no":0,"live":1,"mine":[]}]\n\n' +
        'retry: 300\nevent: bye\ndata: {"reason":"closing","retryAfterMs":300}\n\n',
    );
  });
});
