import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { reached, PostWatcher } from '../test/clients.js';
import { type Acknowledge, acknowledgeAll, FakeGateway, update, HeldClock } from '../test/fake-gateway.js';
import { MemoryStorage } from '../test/memory-storage.js';
import type { PageChange } from './environment.js';
import { LINGER_MS } from './subscriptions.js';

let end: FakeGateway;

beforeEach(async () => {
  end = await FakeGateway.start();
});

afterEach(() => end.close());

describe('a client', () => {
  test('creating a client opens no connection', () => {
    end.onSocket = () => {
      throw new Error('a connection was opened');
    };
    const live = end.connect();
    expect(live.post('a').id).toBe('a');
    expect(live.state).toBe('syncing');
    live.close();
  });

  test('all posts share one socket, and those subscribed within an animation frame share one message', async () => {
    const requested: unknown[] = [];
    let sockets = 0;
    end.onSocket = (socket) => {
      sockets++;
      acknowledgeAll(socket);
      socket.on('subscribe', (payload: unknown) => requested.push(payload));
    };
    const live = end.connect();
    for (const id of ['a', '__proto__', 'a']) live.post(id).subscribe(() => undefined);
    await reached(live, 'synced');
    for (const id of ['b', 'c', 'a']) live.post(id).subscribe(() => undefined);
    await reached(live, 'synced');
    expect(requested).toEqual([{ posts: ['a', '__proto__'] }, { posts: ['b', 'c'] }]);
    expect(sockets).toBe(1);
  });

  test('a like shows before its acknowledgement and stays after it', async () => {
    end.onSocket = acknowledgeAll;
    const live = end.connect();
    const seen = new PostWatcher(live, 'a');
    await reached(live, 'synced');
    await live.post('a').like();
    expect(seen.changes.map(({ source, mine, delta, counts }) => [source, mine, delta, counts.likes])).toEqual([
      ['snapshot', [], {}, 1],
      ['local', ['likes'], { likes: 1 }, 2],
    ]);
  });

  test('a like of somebody else that arrives with an acknowledgement is remote, and an own unique view is local', async () => {
    end.onSocket = (socket) => {
      socket.on('subscribe', (_: unknown, answer: Acknowledge) =>
        answer({ ok: true, tickMs: 100, uniques: ['views'], counts: [{ ...update('a', 1), mine: [] }] }),
      );
      let v = 2;
      for (const event of ['add', 'set'])
        socket.on(event, (_: unknown, answer: Acknowledge) =>
          answer({
            ok: true,
            applied: true,
            duplicate: false,
            on: true,
            counts: { ...update('a', ++v), likes: 3, views: v - 3 },
          }),
        );
    };
    const live = end.connect();
    const seen = new PostWatcher(live, 'a');
    await reached(live, 'synced');
    await live.post('a').like();
    await live.post('a').view();
    expect(seen.changes.map(({ source, delta }) => [source, delta])).toEqual([
      ['snapshot', {}],
      ['local', { likes: 1 }],
      ['remote', { likes: 1 }],
      ['local', { views: 1 }],
    ]);
  });

  test('after a lost connection a client subscribes with its versions, and resends with the same session and seq', async () => {
    const sessions = new Set<unknown>();
    const likes: unknown[] = [];
    const requested: unknown[] = [];
    end.onSocket = (socket, nth) => {
      sessions.add(socket.handshake.auth['session']);
      socket.on('subscribe', (payload: unknown) => requested.push(payload));
      socket.on('set', (payload: unknown) => {
        likes.push(payload);
        if (nth === 1) socket.conn.close();
      });
      if (nth === 2) return acknowledgeAll(socket);
      socket.on('subscribe', (_: unknown, answer: Acknowledge) =>
        answer({ ok: true, tickMs: 100, counts: [{ ...update('a', 1), mine: [] }] }),
      );
    };
    const live = end.connect();
    live.post('a').subscribe(() => undefined);
    await reached(live, 'synced');
    await live.post('a').like();
    await reached(live, 'synced');
    const like = { post: 'a', metric: 'likes', on: true, seq: 1 };
    expect(sessions.size).toBe(1);
    expect(likes).toEqual([like, like]);
    expect(requested).toEqual([{ posts: ['a'] }, { posts: ['a'], known: { a: ['e', 1] } }]);
  });

  test('a subscription lingers after the last subscriber left, and stays if one comes back', async () => {
    const left: unknown[] = [];
    const requested: unknown[] = [];
    const unsubscribed = new Promise((resolve) => {
      end.onSocket = (socket) => {
        acknowledgeAll(socket);
        socket.on('subscribe', (payload: unknown) => requested.push(payload));
        socket.on('unsubscribe', (payload) => {
          left.push(payload);
          resolve(undefined);
        });
      };
    });
    const clock = new HeldClock(LINGER_MS);
    const live = end.connect({ clock });
    const stops = ['a', 'b', 'a'].map((id) => live.post(id).subscribe(() => undefined));
    await reached(live, 'synced');
    for (const stop of stops) stop();
    expect(clock.held).toBe(2);
    const seen = new PostWatcher(live, 'b');
    expect(seen.last).toMatchObject({ counts: { likes: 1 }, delta: {}, source: 'snapshot' });
    clock.ring();
    await unsubscribed;
    expect(left).toEqual([{ posts: ['a'] }]);
    expect(requested).toHaveLength(1);
  });

  test('a subscription is retried after a retryable error', async () => {
    let requests = 0;
    end.onSocket = (socket) =>
      socket.on('subscribe', (_: unknown, answer: Acknowledge) => {
        const error = { code: 'OVERLOADED', message: 'later', retryable: true, retryAfterMs: 10 };
        if (++requests === 1) return answer({ ok: false, error });
        answer({ ok: true, tickMs: 100, counts: [{ ...update('a', 1), mine: [] }] });
      });
    const live = end.connect();
    live.post('a').subscribe(() => undefined);
    await reached(live, 'synced');
    expect(requests).toBe(2);
  });

  test('after a bye a client waits for retryAfterMs and a little jitter before it reconnects', async () => {
    end.onSocket = (socket, nth) => {
      if (nth === 2) return acknowledgeAll(socket);
      socket.emit('bye', { reason: 'the gateway is closing', retryAfterMs: 70 });
      socket.disconnect(true);
    };
    const clock = new HeldClock(-1);
    await end
      .connect({ clock, random: () => 0.5 })
      .post('a')
      .like();
    expect(clock.waits).toContain(73.5);
  });

  test('a rejected connection is retried after the retryAfterMs of its error', async () => {
    const error = { code: 'OVERLOADED', message: 'the gateway is closing', retryable: true, retryAfterMs: 40 };
    let refused = false;
    end.server.use((_, next) => {
      if (refused) return next();
      refused = true;
      next(Object.assign(new Error('refused'), { data: error }));
    });
    end.onSocket = acknowledgeAll;
    const clock = new HeldClock(-1);
    await end
      .connect({ clock, random: () => 0 })
      .post('a')
      .like();
    expect(clock.waits).toContain(40);
  });

  test('a page that is hidden for a while closes its socket, and is current soon after it is shown', async () => {
    const gone = new Promise((resolve) => {
      end.onSocket = (socket) => {
        acknowledgeAll(socket);
        socket.on('disconnect', resolve);
      };
    });
    let emitChange: (change: PageChange) => void = () => undefined;
    const page = {
      hidden: false,
      onChange(call: (change: PageChange) => void) {
        emitChange = call;
        return () => undefined;
      },
    };
    const clock = new HeldClock(30_000);
    const live = end.connect({ clock, page });
    live.post('a').subscribe(() => undefined);
    await reached(live, 'synced');
    page.hidden = true;
    emitChange('hidden');
    clock.ring();
    await gone;
    expect(live.state).toBe('syncing');
    page.hidden = false;
    emitChange('shown');
    await reached(live, 'synced');
  });

  test('the actor is stored with its first like, and is new for each client before that and if the storage is blocked', async () => {
    const actors: unknown[] = [];
    end.onSocket = (socket) => {
      actors.push(socket.handshake.auth['actor']);
      acknowledgeAll(socket);
    };
    const storage = new MemoryStorage();
    const blocked = new MemoryStorage();
    blocked.getItem = () => {
      throw new Error('site data is blocked');
    };
    await end.connect({ storage }, '').post('a').view();
    expect(storage.length).toBe(0);
    for (const one of [storage, storage, blocked, blocked]) await end.connect({ storage: one }, '').post('a').like();
    expect(actors[0]).toMatch(/^-?[1-9][0-9]{0,18}$/);
    expect(BigInt.asIntN(64, BigInt(actors[0] as string))).toBe(BigInt(actors[0] as string));
    expect(actors[2]).toBe(actors[1]);
    expect(new Set(actors).size).toBe(4);
  });

  test('closing a client rejects waiting and later operations', async () => {
    const live = end.connect();
    const waiting = live.post('a').like();
    live.close();
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(live.post('a').view()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('an invalid post id is rejected at once', () => {
    expect(() => end.connect().post('no spaces')).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});
