import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Server, type Socket } from 'socket.io';
import { closeClients, connect as connectTo, reached, Watching } from '../test/clients.js';
import { type Clock, systemEnvironment } from './environment.js';
import type { Options } from './live-counts.js';
import { LINGER_MS } from './subscriptions.js';

type Answer = (answer: object) => void;

/** The other end of the wire, as far as a test wants it: `onSocket` says what each connection does. */
let http: HttpServer;
let gateway: Server;
let onSocket: (socket: Socket, nth: number) => void;

beforeEach(async () => {
  http = createServer();
  gateway = new Server(http);
  onSocket = () => undefined;
  let connections = 0;
  gateway.on('connection', (socket) => onSocket(socket, ++connections));
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
});

afterEach(async () => {
  closeClients();
  await gateway.close();
});

function connect(environment: Options['environment'] = {}, actor: string | undefined = 'ann') {
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  return connectTo(url, actor === '' ? { environment } : { actor, environment });
}

function update(post: string, v: number): object {
  return { post, e: 'e', v, likes: v, views: 0, live: 1 };
}

function answerAll(socket: Socket): void {
  socket.on('subscribe', ({ posts }: { posts: string[] }, answer: Answer) =>
    answer({ ok: true, tickMs: 100, counts: posts.map((post) => ({ ...update(post, 1), mine: [] })) }),
  );
  for (const event of ['add', 'set']) {
    socket.on(event, ({ post }: { post: string }, answer: Answer) =>
      answer({ ok: true, applied: true, duplicate: false, on: true, counts: update(post, 2) }),
    );
  }
}

/** The system's clock, but for timers of `heldMs`: those wait to be `rung`; and every wait is written down. */
class WatchedClock implements Clock {
  readonly waits: number[] = [];
  readonly #held = new Set<() => void>();
  readonly #clock = systemEnvironment().clock;

  constructor(private readonly heldMs: number) {}

  nowMs(): number {
    return this.#clock.nowMs();
  }

  after(ms: number, call: () => void) {
    this.waits.push(ms);
    if (ms !== this.heldMs) return this.#clock.after(ms, call);
    this.#held.add(call);
    return { cancel: () => this.#held.delete(call) };
  }

  frame(call: () => void): void {
    this.#clock.frame(call);
  }

  get held(): number {
    return this.#held.size;
  }

  ring(): void {
    for (const call of this.#held) call();
    this.#held.clear();
  }
}

describe('a client', () => {
  test('creating one does nothing', () => {
    onSocket = () => {
      throw new Error('nobody asked for a connection');
    };
    const live = connect();
    expect(live.post('a').id).toBe('a');
    expect(live.state).toBe('syncing');
    live.close();
  });

  test('all posts share one socket, and those subscribed within a frame one message', async () => {
    const asked: unknown[] = [];
    let sockets = 0;
    onSocket = (socket) => {
      sockets++;
      answerAll(socket);
      socket.on('subscribe', (payload: unknown) => asked.push(payload));
    };
    const live = connect();
    for (const id of ['a', '__proto__', 'a']) live.post(id).subscribe(() => undefined);
    await reached(live, 'synced');
    for (const id of ['b', 'c', 'a']) live.post(id).subscribe(() => undefined);
    await reached(live, 'synced');
    expect(asked).toEqual([{ posts: ['a', '__proto__'] }, { posts: ['b', 'c'] }]);
    expect(sockets).toBe(1);
  });

  test('a like shows before its acknowledgement, and stands after it', async () => {
    onSocket = answerAll;
    const live = connect();
    const seen = new Watching(live, 'a');
    await reached(live, 'synced');
    await live.post('a').like();
    expect(seen.changes.map(({ source, mine, delta, counts }) => [source, mine, delta, counts.likes])).toEqual([
      ['snapshot', [], {}, 1],
      ['local', ['likes'], { likes: 1 }, 2],
    ]);
  });

  test('after a lost connection it asks with what it knows, and resends under the same session and number', async () => {
    const sessions = new Set<unknown>();
    const likes: unknown[] = [];
    const asked: unknown[] = [];
    onSocket = (socket, nth) => {
      sessions.add(socket.handshake.auth['session']);
      socket.on('subscribe', (payload: unknown) => asked.push(payload));
      socket.on('set', (payload: unknown) => {
        likes.push(payload);
        if (nth === 1) socket.conn.close();
      });
      if (nth === 2) return answerAll(socket);
      socket.on('subscribe', (_: unknown, answer: Answer) =>
        answer({ ok: true, tickMs: 100, counts: [{ ...update('a', 1), mine: [] }] }),
      );
    };
    const live = connect();
    live.post('a').subscribe(() => undefined);
    await reached(live, 'synced');
    await live.post('a').like();
    await reached(live, 'synced');
    const like = { post: 'a', metric: 'likes', on: true, seq: 1 };
    expect(sessions.size).toBe(1);
    expect(likes).toEqual([like, like]);
    expect(asked).toEqual([{ posts: ['a'] }, { posts: ['a'], known: { a: ['e', 1] } }]);
  });

  test('a subscription lingers after the last has left, and is kept for who comes back', async () => {
    const left: unknown[] = [];
    const asked: unknown[] = [];
    const unsubscribed = new Promise((resolve) => {
      onSocket = (socket) => {
        answerAll(socket);
        socket.on('subscribe', (payload: unknown) => asked.push(payload));
        socket.on('unsubscribe', (payload) => {
          left.push(payload);
          resolve(undefined);
        });
      };
    });
    const clock = new WatchedClock(LINGER_MS);
    const live = connect({ clock });
    const stops = ['a', 'b', 'a'].map((id) => live.post(id).subscribe(() => undefined));
    await reached(live, 'synced');
    for (const stop of stops) stop();
    expect(clock.held).toBe(2);
    const seen = new Watching(live, 'b');
    expect(seen.last).toMatchObject({ counts: { likes: 1 }, delta: {}, source: 'snapshot' });
    clock.ring();
    await unsubscribed;
    expect(left).toEqual([{ posts: ['a'] }]);
    expect(asked).toHaveLength(1);
  });

  test('a subscription that is refused for now is asked for again', async () => {
    let asked = 0;
    onSocket = (socket) =>
      socket.on('subscribe', (_: unknown, answer: Answer) => {
        const error = { code: 'OVERLOADED', message: 'later', retryable: true, retryAfterMs: 10 };
        if (++asked === 1) return answer({ ok: false, error });
        answer({ ok: true, tickMs: 100, counts: [{ ...update('a', 1), mine: [] }] });
      });
    const live = connect();
    live.post('a').subscribe(() => undefined);
    await reached(live, 'synced');
    expect(asked).toBe(2);
  });

  test('sent away with bye, it stays away for the time that it was told and a little of its own', async () => {
    onSocket = (socket, nth) => {
      if (nth === 2) return answerAll(socket);
      socket.emit('bye', { reason: 'the gateway is closing', retryAfterMs: 70 });
      socket.disconnect(true);
    };
    const clock = new WatchedClock(-1);
    await connect({ clock, random: () => 0.5 })
      .post('a')
      .like();
    expect(clock.waits).toContain(73.5);
  });

  test('a connection that is refused for now is tried again when the gateway said', async () => {
    const error = { code: 'OVERLOADED', message: 'the gateway is closing', retryable: true, retryAfterMs: 40 };
    let refused = false;
    gateway.use((_, next) => {
      if (refused) return next();
      refused = true;
      next(Object.assign(new Error('refused'), { data: error }));
    });
    onSocket = answerAll;
    const clock = new WatchedClock(-1);
    await connect({ clock, random: () => 0 })
      .post('a')
      .like();
    expect(clock.waits).toContain(40);
  });

  test('a page that is hidden for a while lets go of its socket, and is current soon after it is shown', async () => {
    const gone = new Promise((resolve) => {
      onSocket = (socket) => {
        answerAll(socket);
        socket.on('disconnect', resolve);
      };
    });
    let tell = (): void => undefined;
    const page = {
      hidden: false,
      onChange(call: () => void) {
        tell = call;
        return () => undefined;
      },
    };
    const clock = new WatchedClock(30_000);
    const live = connect({ clock, page });
    live.post('a').subscribe(() => undefined);
    await reached(live, 'synced');
    page.hidden = true;
    tell();
    clock.ring();
    await gone;
    expect(live.state).toBe('syncing');
    page.hidden = false;
    tell();
    await reached(live, 'synced');
  });

  test('the actor is kept where the page keeps things, and made anew where nothing can be kept', async () => {
    const actors: unknown[] = [];
    onSocket = (socket) => {
      actors.push(socket.handshake.auth['actor']);
      answerAll(socket);
    };
    const kept = new Map<string, string>();
    const storage = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    };
    const blocked = {
      getItem: () => {
        throw new Error('site data is blocked');
      },
      setItem: () => undefined,
    };
    for (const one of [storage, storage, blocked, blocked]) await connect({ storage: one }, '').post('a').view();
    expect(actors[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(actors[1]).toBe(actors[0]);
    expect(new Set(actors).size).toBe(3);
  });

  test('closing rejects what waits and what comes', async () => {
    const live = connect();
    const waiting = live.post('a').like();
    live.close();
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(live.post('a').view()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('what is no post is refused at once', () => {
    expect(() => connect().post('no spaces')).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});
