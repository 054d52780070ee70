import { beforeEach, describe, expect, test } from '@jest/globals';
import { MemoryStorage } from '../test/memory-storage.js';
import { systemEnvironment } from './environment.js';
import { LeavingPage } from './leaving-page.js';
import type { PostedEvent } from './posted-events.js';
import { Session } from './session.js';
import type { Credentials, TransportConnection } from './transport.js';

const URL = 'https://counts.example/v1/events';
const MINUTE_MS = 60_000;

interface PostedList extends Credentials {
  readonly events: readonly PostedEvent[];
}

let storage: MemoryStorage;
let posted: PostedList[];
let nowMs: number;
let respond: () => Response;

beforeEach(() => {
  storage = new MemoryStorage();
  posted = [];
  nowMs = 1_000 * MINUTE_MS;
  respond = () => Response.json({ accepted: 1, rejected: [] }, { status: 202 });
});

/** A page with a session whose connection never answers. */
function openPage(session: string, credentials: Partial<Credentials> = { actor: 'ann' }, environment: object = {}) {
  const clock = { ...systemEnvironment().clock, nowMs: () => nowMs, frame: (call: () => void) => call() };
  const fetch = (_: unknown, init?: RequestInit): Promise<Response> => {
    posted.push(JSON.parse(init!.body as string) as PostedList);
    return Promise.resolve(respond());
  };
  const page = { hidden: false, onChange: () => () => undefined };
  const listener = { sent: () => undefined, acknowledged: () => undefined, refused: () => undefined };
  const operations = new Session(clock, listener, () => new Promise(() => undefined));
  const all: Credentials = { token: undefined, actor: undefined, session, automated: undefined, ...credentials };
  const leaving = new LeavingPage(
    URL,
    { ...systemEnvironment(), clock, fetch, page, storage, ...environment },
    operations,
  );
  return {
    leave: (comesBack = true) => leaving.leave(all, comesBack),
    resend: async () => {
      leaving.resend(all);
      await new Promise((resolve) => setImmediate(resolve));
    },
    update: () => leaving.update(all),
    operations,
  };
}

function connect(operations: Session): { answer: (count?: number) => Promise<void> } {
  const answers: ((answer: { ok: true }) => void)[] = [];
  const connection = { operate: () => new Promise((resolve) => answers.push(resolve)) };
  operations.attach(connection as unknown as TransportConnection, 'socket');
  return {
    async answer(count = answers.length) {
      for (const resolve of answers.splice(0, count)) resolve({ ok: true });
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

function push(operations: Session, post: string, metric: string, value: number | boolean): void {
  operations.push(post, metric, value).done.catch(() => undefined);
  operations.send();
}

/** Leaves an operation of this session in the storage. */
function leaveView(session: string, credentials?: Partial<Credentials>): void {
  const page = openPage(session, credentials);
  push(page.operations, 'p', 'views', 1);
  page.leave();
  posted = [];
}

describe('a page that is left', () => {
  test('operations of a socket are sent with session and seq, in one request, again only if there are more', () => {
    const { operations, leave } = openPage('s1');
    leave();
    connect(operations);
    push(operations, 'p', 'views', 7);
    push(operations, 'q', 'likes', true);
    leave();
    leave();
    const events = [
      { post: 'p', metric: 'views', by: 7, seq: 1 },
      { post: 'q', metric: 'likes', on: true, seq: 2 },
    ];
    expect(posted).toEqual([{ actor: 'ann', session: 's1', events }]);
    push(operations, 'q', 'likes', false);
    leave();
    expect(posted[1]!.events).toEqual([...events, { post: 'q', metric: 'likes', on: false, seq: 3 }]);
  });

  test('operations before the first connection are sent with the keys of their requests over HTTP', () => {
    const { operations, leave } = openPage('s1');
    push(operations, 'p', 'views', 2);
    push(operations, 'p', 'likes', false);
    leave();
    expect(posted[0]!.events).toEqual([
      { post: 'p', metric: 'views', by: 1, key: 's1.1.1' },
      { post: 'p', metric: 'views', by: 1, key: 's1.1.2' },
      { post: 'p', metric: 'likes', on: false, key: 's1.2.1' },
    ]);
  });

  test('posts with a toggle come first in what is sent and stored, behind what was sent before', () => {
    const { operations, leave } = openPage('s1');
    for (const post of ['p', 'q', 'r']) push(operations, post, 'views', 1);
    push(operations, 'q', 'likes', true);
    leave();
    push(operations, 'q', 'views', 1);
    push(operations, 'r', 'likes', true);
    leave();
    const names = posted.map(({ events }) => events.map(({ post, metric }) => `${post} ${metric}`));
    const first = ['q views', 'q likes', 'p views', 'r views'];
    expect(names).toEqual([first, [...first, 'r likes', 'q views']]);
    const stored = JSON.parse(storage.getItem(storage.key(0)!)!) as PostedList;
    expect(stored.events).toEqual(posted[1]!.events);
  });

  test('a request has the first operations that fit into 64 KiB, and the storage the first 500', () => {
    const { operations, leave } = openPage('s1'.padEnd(32, '0'), { actor: 'Ä'.repeat(128) });
    for (let n = 0; n < 600; n++) push(operations, `${n}-`.padEnd(64, 'x'), 'views', 1);
    leave();
    const [list] = posted as [PostedList];
    const seqs = list.events.map(({ post }) => Number.parseInt(post));
    expect(Buffer.byteLength(JSON.stringify(list))).toBeLessThan(65_536);
    expect(seqs.length).toBeGreaterThan(250);
    expect(seqs).toEqual(seqs.map((_, i) => i));
    const stored = JSON.parse(storage.getItem(storage.key(0)!)!) as PostedList;
    expect(stored.events).toHaveLength(500);
  });

  test('a browser without keepalive sends a beacon', () => {
    const beacons: string[] = [];
    const sendBeacon = (url: string) => beacons.push(url) > 0;
    const { operations, leave } = openPage('s1', { actor: 'ann' }, { sendBeacon });
    push(operations, 'p', 'views', 1);
    leave();
    expect([beacons, posted]).toEqual([[URL], []]);
  });

  test('operations are stored until the last of them is acknowledged', async () => {
    const { operations, leave, update } = openPage('s1');
    const { answer } = connect(operations);
    push(operations, 'p', 'views', 1);
    push(operations, 'p', 'views', 1);
    leave();
    await answer(1);
    update();
    expect(storage.length).toBe(1);
    push(operations, 'p', 'views', 1);
    await answer(1);
    update();
    expect([operations.unacknowledged.length, storage.length]).toEqual([1, 0]);
  });

  test('a client that gives no name sends its operations, and stores nothing', () => {
    const { operations, leave } = openPage('s1', { actor: undefined });
    push(operations, 'p', 'likes', true);
    leave();
    expect([posted.length, storage.length]).toEqual([1, 0]);
  });

  test('operations of an actor that no later visit has are sent, and not stored', () => {
    const { operations, leave } = openPage('s1');
    push(operations, 'p', 'views', 1);
    leave(false);
    expect(posted).toHaveLength(1);
    expect(storage.length).toBe(0);
  });

  test('a full storage does not keep the request back', () => {
    storage.setItem = () => {
      throw new Error('the quota is exceeded');
    };
    leaveView('s1');
    const { operations, leave } = openPage('s2');
    push(operations, 'p', 'views', 1);
    leave();
    expect(posted).toHaveLength(1);
  });
});

describe('the next page load', () => {
  test('operations of the same actor are sent under their session, and removed when they are accepted', async () => {
    leaveView('left');
    await openPage('next').resend();
    expect(posted).toEqual([
      { actor: 'ann', session: 'left', events: [{ post: 'p', metric: 'views', by: 1, key: 'left.1.1' }] },
    ]);
    expect(storage.length).toBe(0);
  });

  test('operations of another actor, of another gateway and of this page stay', async () => {
    leaveView('bob', { actor: 'bob' });
    leaveView('own');
    storage.setItem('tallycast.unsent.far', storage.getItem('tallycast.unsent.own')!.replace('counts', 'far'));
    storage.setItem('tallycast.unsent.broken', 'not JSON');
    await openPage('own').resend();
    expect(posted).toEqual([]);
    expect(storage.length).toBe(4);
  });

  test('operations are removed unsent 50 minutes after they were sent first', async () => {
    const { operations, leave } = openPage('left');
    connect(operations);
    push(operations, 'p', 'views', 1);
    nowMs += 49 * MINUTE_MS;
    push(operations, 'p', 'views', 1);
    leave();
    posted = [];
    nowMs += 2 * MINUTE_MS;
    await openPage('next').resend();
    expect([posted, storage.length]).toEqual([[], 0]);
  });

  test.each([
    ['is down', () => Response.json({}, { status: 503 }), 1],
    ['rejects the token', () => Response.json({}, { status: 401 }), 1],
    ['rejects some until later', () => reject(true), 1],
    ['rejects some for good', () => reject(false), 0],
    ['rejects all for good', () => Response.json({ retryable: false }, { status: 400 }), 0],
  ])('when the gateway %s, the number of sessions that stay is right', async (_, response, kept) => {
    leaveView('left');
    respond = response;
    await openPage('next').resend();
    expect([posted.length, storage.length]).toEqual([1, kept]);
  });

  test('operations that their page has added meanwhile stay', async () => {
    leaveView('left');
    respond = () => {
      storage.setItem('tallycast.unsent.left', storage.getItem('tallycast.unsent.left')!.replace('"p"', '"q"'));
      return Response.json({ rejected: [] }, { status: 202 });
    };
    await openPage('next').resend();
    expect(storage.length).toBe(1);
  });

  test('with tokens the actor is the sub, and neither a token nor operations without a readable one are stored', async () => {
    const sign = (sub: string, exp: number): string =>
      `h.${Buffer.from(JSON.stringify({ sub, exp, pad: '>>>???' })).toString('base64url')}.secret`;
    leaveView('left', { token: sign('ann', 1) });
    leaveView('unreadable', { token: 'opaque' });
    expect(storage.length).toBe(1);
    expect(storage.getItem(storage.key(0)!)).not.toContain('secret');
    await openPage('other', { token: sign('bob', 2) }).resend();
    expect(posted).toEqual([]);
    await openPage('next', { token: sign('ann', 2) }).resend();
    expect(posted).toMatchObject([{ token: sign('ann', 2), session: 'left' }]);
  });

  test('a client without a page sends nothing', async () => {
    leaveView('left');
    await openPage('next', { actor: 'ann' }, { page: undefined }).resend();
    expect([posted, storage.length]).toEqual([[], 1]);
  });
});

function reject(retryable: boolean): Response {
  const rejected = [{ index: 0, error: { code: 'RATE_LIMITED', message: 'no', retryable } }];
  return Response.json({ accepted: 1, rejected }, { status: 202 });
}
