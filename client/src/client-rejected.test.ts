import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { until } from '../../test/support/until.js';
import { reached } from '../test/clients.js';
import { type Acknowledge, acknowledgeAll, FakeGateway, update, HeldClock } from '../test/fake-gateway.js';
import { LINGER_MS } from './subscriptions.js';

let end: FakeGateway;

beforeEach(async () => {
  end = await FakeGateway.start();
});

afterEach(() => end.close());

function countStreams(): { begun: number } {
  const streams = { begun: 0 };
  end.http.prependListener('request', ({ url }) => (streams.begun += Number(url?.startsWith('/v1/stream'))));
  return streams;
}

describe('a client', () => {
  test('the actor stays the same after a reconnect even if nothing can be stored', async () => {
    const actors: unknown[] = [];
    end.onSocket = (socket, nth) => {
      actors.push((socket.handshake.auth as { actor?: string }).actor);
      acknowledgeAll(socket);
      if (nth === 1) socket.once('subscribe', () => setImmediate(() => socket.conn.close()));
    };
    const live = end.connect({ storage: undefined }, '');
    live.post('a').subscribe(() => undefined);
    await reached(live, 'synced');
    await reached(live, 'syncing');
    await reached(live, 'synced');
    expect(actors).toHaveLength(2);
    expect(actors[0]).toMatch(/^(0|-?[1-9][0-9]{0,18})$/);
    expect(actors[1]).toBe(actors[0]);
  });

  test('a late subscriber of a rejected post gets its error, and posts over the limit are requested again when others are left', async () => {
    const requested: string[][] = [];
    end.onSocket = (socket) =>
      socket.on('subscribe', ({ posts }: { posts: string[] }, answer: Acknowledge) => {
        requested.push(posts);
        const hasRoom = requested.length > 1;
        const error = { code: 'TOO_MANY_POSTS', message: 'too many', retryable: false };
        const rejected = hasRoom ? [] : [{ post: 'b', error }];
        const counts = posts
          .filter((post) => hasRoom || post !== 'b')
          .map((post) => ({ ...update(post, 1), mine: [] }));
        answer({ ok: true, tickMs: 100, counts, rejected });
      });
    const clock = new HeldClock(LINGER_MS);
    const live = end.connect({ clock });
    const leave = live.post('a').subscribe(() => undefined);
    const refusals: string[] = [];
    const seen = new Promise((resolve) => live.post('b').subscribe(resolve, ({ code }) => refusals.push(code)));
    await reached(live, 'synced');
    live.post('b').subscribe(
      () => undefined,
      ({ code }) => refusals.push(`late ${code}`),
    );
    expect(refusals).toEqual(['TOO_MANY_POSTS', 'late TOO_MANY_POSTS']);
    leave();
    clock.ring();
    expect(await seen).toMatchObject({ counts: { likes: 1 } });
    expect(requested).toEqual([['a', 'b'], ['b']]);
  });

  test('a client falls back to event streams if the WebSocket constructor throws', async () => {
    function Forbidden(): never {
      throw new Error("the page's policy forbids it");
    }
    const streams = countStreams();
    const live = end.connect({ WebSocket: Forbidden as unknown as typeof WebSocket, random: () => 0 });
    live.post('a').subscribe(() => undefined);
    await until(() => streams.begun > 0, 'it tries event streams');
  });

  test('a client falls back to event streams if sockets open and nothing gets through', async () => {
    end.onSocket = (socket) => socket.conn.close();
    const streams = countStreams();
    const live = end.connect({ random: () => 0 });
    live.post('a').subscribe(() => undefined);
    await until(() => streams.begun > 0, 'it tries event streams');
  });
});
