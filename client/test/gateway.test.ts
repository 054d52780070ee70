import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { WebSocket } from 'ws';
import type { ByeEvent } from '../../src/protocol/messages.js';
import { freePort } from '../../test/support/free-port.js';
import { type GatewayProcess, startGateway, stopAll } from '../../test/support/gateway-process.js';
import { startProxy, type TcpProxy } from '../../test/support/tcp-proxy.js';
import { type Clock, systemEnvironment } from '../src/environment.js';
import { createLiveCounts } from '../src/live-counts-http.js';
import { closeClients, connect, reached, PostWatcher } from './clients.js';
import { MemoryStorage } from './memory-storage.js';

const METRICS = 'likes:toggle,views:tally,yes:choice@vote,no:choice@vote,readers:unique';

let gateway: GatewayProcess;
let env: Record<string, string>;

beforeAll(async () => {
  env = { PORT: String(await freePort()), METRICS };
  gateway = await startGateway(env);
  env = { ...env, DATA_DIR: gateway.dataDir };
});

afterEach(closeClients);
afterAll(stopAll);

/** The post's counts as the gateway serves them over HTTP. */
async function readCounts(post: string): Promise<unknown> {
  const answer = await fetch(`${gateway.url}/v1/counts?posts=${post}`);
  return ((await answer.json()) as { counts: unknown[] }).counts[0];
}

/** Sockets that also collect the `retryAfterMs` of each `bye`. */
function collectByes(): { WebSocket: typeof globalThis.WebSocket; byes: number[] } {
  const byes: number[] = [];
  class ListeningSocket extends WebSocket {
    constructor(url: string) {
      super(url);
      this.on('message', (data: Buffer) => {
        const text = data.toString();
        if (!text.startsWith('42["bye"')) return;
        const [, { retryAfterMs }] = JSON.parse(text.slice(2)) as [string, ByeEvent];
        byes.push(retryAfterMs);
      });
    }
  }
  return { WebSocket: ListeningSocket as unknown as typeof globalThis.WebSocket, byes };
}

describe('clients of a gateway', () => {
  test('two clients agree on the operations of both, and each shows its own at once', async () => {
    const [ann, bob] = [connect(gateway.url, { actor: 'ann' }), connect(gateway.url, { actor: 'bob' })];
    const [seenByAnn, seenByBob] = [new PostWatcher(ann, 'both'), new PostWatcher(bob, 'both')];
    await Promise.all([reached(ann, 'synced'), reached(bob, 'synced')]);
    const liked = ann.post('both').like();
    expect(seenByAnn.last).toMatchObject({
      counts: { likes: 1 },
      delta: { likes: 1 },
      mine: ['likes'],
      source: 'local',
    });
    await Promise.all([liked, bob.post('both').like(), bob.post('both').add('views', 7), ann.post('both').view()]);
    const [one, other] = await Promise.all(
      [seenByAnn, seenByBob].map((seen) => seen.until(({ counts }) => counts.likes === 2 && counts.views === 8)),
    );
    expect(one!.counts).toMatchObject({ likes: 2, views: 8 });
    expect(other!.mine).toEqual(['likes']);
    await ann.post('both').unlike();
    expect(await seenByBob.until(({ counts }) => counts.likes === 1)).toMatchObject({ source: 'remote' });
    expect(seenByAnn.last).toMatchObject({ counts: { likes: 1 }, mine: [] });
  });

  test('two tabs of one actor show the same like', async () => {
    const [tab, other] = [connect(gateway.url, { actor: 'ann' }), connect(gateway.url, { actor: 'ann' })];
    const seen = new PostWatcher(other, 'tabs');
    await reached(other, 'synced');
    await tab.post('tabs').like();
    await seen.until(({ mine, counts }) => mine.includes('likes') && counts.likes === 1);
  });

  test('a choice turns the other option off at once and in the other tab, and can be taken back', async () => {
    const [tab, other] = [connect(gateway.url, { actor: 'ann' }), connect(gateway.url, { actor: 'ann' })];
    const [seen, followed] = [new PostWatcher(tab, 'poll'), new PostWatcher(other, 'poll')];
    await Promise.all([reached(tab, 'synced'), reached(other, 'synced')]);
    expect(tab.options('vote')).toEqual(['yes', 'no']);
    await tab.post('poll').choose('yes');
    await followed.until(({ mine, counts }) => mine.join() === 'yes' && counts['yes'] === 1);
    const chosen = other.post('poll').choose('no');
    expect(followed.last).toMatchObject({ counts: { yes: 0, no: 1 }, delta: { yes: -1, no: 1 }, mine: ['no'] });
    await chosen;
    await seen.until(({ mine, counts }) => mine.join() === 'no' && counts['yes'] === 0 && counts['no'] === 1);
    await tab.post('poll').choose('no', false);
    await followed.until(({ mine, counts }) => mine.length === 0 && counts['no'] === 0);
    expect(followed.changes.every(({ mine }) => mine.length < 2)).toBe(true);
  });

  test('an option that the gateway does not have is rejected, and the options are listed', async () => {
    const live = connect(gateway.url);
    live.post('poll').subscribe(() => undefined);
    await reached(live, 'synced');
    const message = '"likes" is not an option; the gateway has {"vote":["yes","no"]}';
    await expect(live.post('poll').choose('likes')).rejects.toMatchObject({ code: 'BAD_REQUEST', message });
    expect(live.waiting).toBe(0);
  });

  test('a further view of a unique metric moves no number', async () => {
    const live = connect(gateway.url, { actor: 'ann' });
    await live.post('read').add('readers');
    const seen = new PostWatcher(live, 'read');
    const again = live.post('read').add('readers');
    await seen.until(({ counts }) => counts['readers'] === 1);
    await again;
    await live.post('read').add('views');
    expect(seen.changes.filter(({ counts }) => counts['readers'] !== 1)).toEqual([]);
  });

  test('a rejected operation is taken back alone, with the reason', async () => {
    const live = connect(gateway.url, { actor: 'ann' });
    const seen = new PostWatcher(live, 'refused');
    await reached(live, 'synced');
    const wrong = live.post('refused').add('likes', 1);
    const right = live.post('refused').view();
    await expect(wrong).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await right;
    expect(seen.last!.counts).toMatchObject({ likes: 0, views: 1 });
  });

  test('a client without a name stores none, and is the actor that the gateway derives', async () => {
    const { url } = await startGateway({ ANONYMOUS_ACTORS: 'address' });
    const storage = new MemoryStorage();
    const [tab, other] = [0, 1].map(() => connect(url, { actor: null, environment: { storage } }));
    const seen = new PostWatcher(other!, 'unnamed');
    await reached(other!, 'synced');
    await tab!.post('unnamed').like();
    await seen.until(({ mine, counts }) => mine.includes('likes') && counts.likes === 1);
    expect(storage.length).toBe(0);
  });

  test('views of a browser that a program drives are acknowledged and not counted, over sockets and HTTP', async () => {
    const notice = jest.spyOn(console, 'info').mockImplementation(() => undefined);
    const environment = { isAutomated: true };
    const [live, http] = [connect(gateway.url, { environment }), createLiveCounts(gateway.url, { environment })];
    for (const one of [live, http]) {
      await one.post('driven').view();
      await one.post('driven').like();
    }
    http.close();
    expect(notice).toHaveBeenCalledWith(expect.stringContaining('COUNT_BOTS=true'));
    notice.mockRestore();
    expect(await readCounts('driven')).toMatchObject({ likes: 2, views: 0 });
  });

  test('a post over the limit is rejected, and the others are watched', async () => {
    const live = connect(gateway.url);
    const refused = new Promise((resolve) => {
      for (let n = 0; n < 501; n++) live.post(`limit-${n}`).subscribe(() => undefined, resolve);
    });
    expect(await refused).toMatchObject({ code: 'TOO_MANY_POSTS' });
    await reached(live, 'synced');
  });

  test('operations made while the gateway is killed and down are counted exactly once', async () => {
    const live = connect(gateway.url, { actor: 'ann' });
    const seen = new PostWatcher(live, 'away');
    await reached(live, 'synced');
    const done = Array.from({ length: 20 }, () => live.post('away').view());
    await done[0];
    const closed = reached(live, 'syncing');
    await gateway.kill('SIGKILL');
    await closed;
    done.push(live.post('away').like(), ...Array.from({ length: 10 }, () => live.post('away').view()));
    expect(seen.last!.counts).toMatchObject({ likes: 1, views: 30 });
    gateway = await startGateway(env);
    await Promise.all(done);
    await reached(live, 'synced');
    expect(await readCounts('away')).toMatchObject({ likes: 1, views: 30 });
    expect(seen.last!.counts).toMatchObject({ likes: 1, views: 30 });
    expect(seen.changes.every(({ delta }) => (delta['views'] ?? 0) >= 0)).toBe(true);
  });

  test('a client of a draining gateway waits for retryAfterMs, and its operations count exactly once', async () => {
    const { clock } = systemEnvironment();
    const waits: number[] = [];
    const after: Clock['after'] = (ms, call) => {
      waits.push(ms);
      return clock.after(ms, call);
    };
    const environment = { ...collectByes(), clock: { ...clock, after }, random: () => 0.5 };
    const live = connect(gateway.url, { actor: 'ann', environment });
    const seen = new PostWatcher(live, 'drained');
    await reached(live, 'synced');
    const done = Array.from({ length: 20 }, () => live.post('drained').view());
    await done[0];
    const closed = reached(live, 'syncing');
    const ended = gateway.kill('SIGTERM');
    await closed;
    done.push(live.post('drained').like(), ...Array.from({ length: 10 }, () => live.post('drained').view()));
    expect(await ended).toBe(0);
    gateway = await startGateway(env);
    await Promise.all(done);
    await reached(live, 'synced');
    expect(await readCounts('drained')).toMatchObject({ likes: 1, views: 30 });
    expect(seen.last!.counts).toMatchObject({ likes: 1, views: 30 });
    expect(environment.byes).toHaveLength(1);
    expect(waits).toContain(environment.byes[0]! * (1 + 0.5 / 10));
  });

  describe('through a connection that breaks', () => {
    let proxy: TcpProxy;

    beforeAll(async () => {
      proxy = await startProxy({ port: gateway.port });
    });
    afterAll(() => proxy.close());

    test('operations whose acknowledgements are lost count exactly once', async () => {
      let dropped = 0;
      // Acknowledgements of counted operations are lost, five times.
      proxy.onReply = (chunk) => (dropped < 5 && chunk.includes('"applied":true') && ++dropped ? 'drop' : 'pass');
      const live = connect(`http://127.0.0.1:${proxy.port}`, { actor: 'ann', environment: { random: () => 0 } });
      const seen = new PostWatcher(live, 'broken');
      await reached(live, 'synced');
      for (let frame = 0; frame < 6; frame++)
        await Promise.all(Array.from({ length: 12 }, () => live.post('broken').view()));
      expect(dropped).toBe(5);
      expect(await readCounts('broken')).toMatchObject({ views: 72 });
      expect((await seen.until(({ counts }) => counts.views === 72)).counts.views).toBe(72);
      expect(seen.changes.every(({ delta }) => (delta['views'] ?? 0) >= 0)).toBe(true);
    });
  });
});
