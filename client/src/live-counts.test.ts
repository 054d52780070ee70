import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Server, type Socket } from 'socket.io';
import { type Change, createLiveCounts, type LiveCounts, type State } from './live-counts.js';

type Answer = (answer: object) => void;

/** The other end of the wire, as far as a test wants it: `onSocket` says what each connection does. */
let http: HttpServer;
let gateway: Server;
let onSocket: (socket: Socket, nth: number) => void;
let clients: LiveCounts[];

beforeEach(async () => {
  http = createServer();
  gateway = new Server(http);
  clients = [];
  onSocket = () => undefined;
  let connections = 0;
  gateway.on('connection', (socket) => onSocket(socket, ++connections));
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
});

afterEach(async () => {
  for (const client of clients) client.close();
  await gateway.close();
});

function connect(): LiveCounts {
  const client = createLiveCounts(`http://127.0.0.1:${(http.address() as AddressInfo).port}`, { actor: 'ann' });
  clients.push(client);
  return client;
}

function update(post: string, v: number): object {
  return { post, e: 'e', v, likes: v, views: 0, live: 1 };
}

function answerAll(socket: Socket): void {
  socket.on('subscribe', ({ posts }: { posts: string[] }, answer: Answer) =>
    answer({ ok: true, tickMs: 100, counts: posts.map((post) => ({ ...update(post, 1), mine: [] })) }),
  );
  socket.on('like', ({ post }: { post: string }, answer: Answer) =>
    answer({ ok: true, applied: true, duplicate: false, on: true, counts: update(post, 2) }),
  );
}

/** Resolves with the first of what `listen` hears that `accepts` takes. */
function heard<T>(listen: (listener: (value: T) => void) => void, accepts: (value: T) => boolean): Promise<T> {
  return new Promise((resolve) =>
    listen((value) => {
      if (accepts(value)) resolve(value);
    }),
  );
}

function state(client: LiveCounts, wanted: State): Promise<State> {
  return heard<State>(
    (listener) => client.onState(listener),
    (now) => now === wanted,
  );
}

describe('live counts', () => {
  test('posts subscribed together are asked for in one message', async () => {
    const asked: unknown[] = [];
    onSocket = (socket) => {
      answerAll(socket);
      socket.on('subscribe', (payload: unknown) => asked.push(payload));
    };
    const client = connect();
    for (const id of ['a', 'b', '__proto__']) client.post(id).subscribe(() => undefined);
    await state(client, 'synced');
    expect(asked).toEqual([{ posts: ['a', 'b', '__proto__'], known: {} }]);
  });

  test('a like shows before and after its acknowledgement', async () => {
    onSocket = answerAll;
    const client = connect();
    const changes: Change[] = [];
    client.post('a').subscribe((change) => changes.push(change));
    await state(client, 'synced');
    const answer = await client.post('a').like();
    expect(answer).toMatchObject({ applied: true, on: true });
    expect(changes.map(({ source, mine, counts }) => [source, mine, counts.likes])).toEqual([
      ['snapshot', [], 1],
      ['local', ['likes'], 1],
      ['ack', ['likes'], 2],
    ]);
  });

  test('after a lost connection it asks with what it knows, and resends under the same session and number', async () => {
    const sessions = new Set<unknown>();
    const likes: unknown[] = [];
    const asked: unknown[] = [];
    onSocket = (socket, nth) => {
      sessions.add(socket.handshake.auth['session']);
      socket.on('subscribe', (payload: unknown) => asked.push(payload));
      socket.on('like', (payload: unknown) => {
        likes.push(payload);
        if (nth === 1) socket.conn.close();
      });
      if (nth === 2) return answerAll(socket);
      socket.on('subscribe', (_: unknown, answer: Answer) =>
        answer({ ok: true, tickMs: 100, counts: [{ ...update('a', 1), mine: [] }] }),
      );
    };
    const client = connect();
    client.post('a').subscribe(() => undefined);
    await state(client, 'synced');
    await client.post('a').like();
    await state(client, 'synced');
    expect(sessions.size).toBe(1);
    expect(likes).toEqual([
      { post: 'a', seq: 1 },
      { post: 'a', seq: 1 },
    ]);
    expect(asked).toEqual([
      { posts: ['a'], known: {} },
      { posts: ['a'], known: { a: ['e', 1] } },
    ]);
  });

  test('a bad id is refused alone', async () => {
    const error = { code: 'BAD_REQUEST', message: 'posts.0 must be an id', retryable: false };
    onSocket = (socket) =>
      socket.on('subscribe', ({ posts }: { posts: string[] }, answer: Answer) => {
        if (posts.includes('b d')) return answer({ ok: false, error });
        answer({ ok: true, tickMs: 100, counts: posts.map((post) => ({ ...update(post, 1), mine: [] })) });
      });
    const client = connect();
    const good = heard<Change>(
      (listener) => client.post('a').subscribe(listener),
      () => true,
    );
    const bad = new Promise((refused) => client.post('b d').subscribe(() => undefined, refused));
    expect(await good).toMatchObject({ counts: { likes: 1 } });
    expect(await bad).toMatchObject({ code: 'BAD_REQUEST' });
    expect(await state(client, 'synced')).toBe('synced');
  });

  test('a subscription that is refused for now is asked for again', async () => {
    let asked = 0;
    onSocket = (socket) =>
      socket.on('subscribe', (_: unknown, answer: Answer) => {
        const error = { code: 'OVERLOADED', message: 'later', retryable: true, retryAfterMs: 10 };
        if (++asked === 1) return answer({ ok: false, error });
        answer({ ok: true, tickMs: 100, counts: [{ ...update('a', 1), mine: [] }] });
      });
    const client = connect();
    client.post('a').subscribe(() => undefined);
    await state(client, 'synced');
    expect(asked).toBe(2);
  });

  test('the last to leave a post unsubscribes it', async () => {
    const left = new Promise((resolve) => {
      onSocket = (socket) => {
        answerAll(socket);
        socket.on('unsubscribe', resolve);
      };
    });
    const client = connect();
    const stops = [1, 2].map(() => client.post('a').subscribe(() => undefined));
    await state(client, 'synced');
    for (const stop of stops) stop();
    expect(await left).toEqual({ posts: ['a'] });
  });

  test('sent away with bye, it stays away for the time that it was told', async () => {
    let leftAt = 0;
    const back = new Promise<number>((resolve) => {
      onSocket = (socket, nth) => {
        if (nth === 2) return resolve(performance.now());
        leftAt = performance.now();
        socket.emit('bye', { reason: 'the gateway is closing', retryAfterMs: 1_200 });
        socket.conn.close();
      };
    });
    connect();
    expect((await back) - leftAt).toBeGreaterThanOrEqual(1_190);
  });

  test('a disconnect by the gateway is not the end', async () => {
    onSocket = (socket, nth) => {
      if (nth === 1) socket.disconnect(true);
      else answerAll(socket);
    };
    const client = connect();
    expect((await client.post('a').like()).applied).toBe(true);
  });

  test('a connection refused for now is tried again, one refused for good rejects what waits', async () => {
    const refusals = [
      { code: 'OVERLOADED', message: 'the gateway is closing', retryable: true, retryAfterMs: 10 },
      { code: 'UNAUTHORIZED', message: 'the token has expired', retryable: false },
    ];
    gateway.use((_, next) => next(Object.assign(new Error('refused'), { data: refusals.shift() })));
    await expect(connect().post('a').like()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(refusals).toEqual([]);
  });

  test('closing rejects what waits and what comes', async () => {
    const client = connect();
    const waiting = client.post('a').like();
    client.close();
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(client.post('a').view()).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
