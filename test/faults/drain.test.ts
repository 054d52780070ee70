import { afterAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Agent, get } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { once } from 'node:events';
import { EventSource } from 'eventsource';
import { closeClients, connect, LedgerClient, totalsAt, untilClosed, untilConnected } from '../support/clients.js';
import { Crowd, HASTY } from '../support/clients-crowd.js';
import { Watcher } from '../support/clients-watcher.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';

const SOCKETS = 50;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const ROUNDS = 2 * Number(process.env['TEST_SCALE'] ?? 1);
const ROUND_LIMIT_MS = 20_000;
/** Far below any of Node's own limits on connections that are idle. */
const PROMPTLY_MS = 5_000;
const ENV = { MAX_OPS_PER_CONNECTION: '0' };
const BYE = { reason: expect.stringMatching(/./), retryAfterMs: expect.any(Number) };

describe('a gateway that is ended by SIGTERM', () => {
  afterAll(async () => {
    await closeClients();
    await stopAll();
  });

  it(
    `has counted what it acknowledged and nothing else, and shown it before bye (TEST_SEED=${SEED})`,
    async () => {
      const random = new Random(SEED);
      const gateway = await startGateway(ENV);
      const crowd = new Crowd(gateway.url, SOCKETS, POSTS, random, { reconnection: false });
      const watchers = ['websocket', 'polling'].map(
        (transport) => new Watcher(gateway.url, POSTS, { transports: [transport], reconnection: false }),
      );
      await Promise.all(watchers.map((watcher) => watcher.untilSubscribed()));
      const enough = crowd.acknowledgements(1000 + random.below(1000));
      crowd.act();
      await enough;

      const ended = gateway.kill('SIGTERM');
      const parties = [...crowd.clients, ...watchers];
      await Promise.all(parties.map(({ socket }) => untilClosed(socket)));
      expect(parties.map(({ byes }) => byes)).toEqual(parties.map(() => [BYE]));
      expect(await ended).toBe(0);

      const again = await startGateway({ ...ENV, DATA_DIR: gateway.dataDir });
      const totals = await totalsAt(again.url, POSTS);
      expect(totals).toEqual(crowd.acknowledged);
      for (const { totalsAtBye } of watchers) expect(totalsAtBye).toEqual(totals);
    },
    ROUND_LIMIT_MS,
  );

  it(
    `leaves nothing to be lost when its clients resend, ${ROUNDS} times in a row (TEST_SEED=${SEED})`,
    async () => {
      const random = new Random(SEED);
      let gateway = await startGateway(ENV);
      const { url, port, dataDir } = gateway;
      const crowd = new Crowd(url, SOCKETS, POSTS, random);
      for (let round = 1; round <= ROUNDS; round++) {
        const enough = crowd.acknowledgements(500 + random.below(500));
        crowd.act();
        await enough;
        expect(await gateway.kill('SIGTERM')).toBe(0);
        gateway = await startGateway({ ...ENV, PORT: String(port), DATA_DIR: dataDir });
        await crowd.acknowledgements(SOCKETS);
        crowd.rest();
        await crowd.settled();
        expect({ round, totals: await totalsAt(url, POSTS) }).toEqual({ round, totals: crowd.asked });
      }
    },
    ROUNDS * ROUND_LIMIT_MS,
  );

  it(
    'leaves nothing to be lost when HTTP requests without an answer are sent again with the same key',
    async () => {
      const gateway = await startGateway();
      const { url, port, dataDir } = gateway;
      const tally = { asked: 0, answered: 0 };
      let ending = false;
      const startedAgain = gate();
      const enough = gate();
      const putters = Array.from({ length: SOCKETS }, async () => {
        while (!ending) {
          const key = randomUUID();
          tally.asked += 1;
          while (!(await isCounted(`${url}/v1/put/views`, key))) await startedAgain.opened;
          tally.answered += 1;
          if (tally.answered === 10 * SOCKETS) enough.open();
        }
      });
      await enough.opened;
      ending = true;
      expect(await gateway.kill('SIGTERM')).toBe(0);
      await startGateway({ PORT: String(port), DATA_DIR: dataDir });
      startedAgain.open();
      await Promise.all(putters);
      expect(await totalsAt(url, ['put'])).toEqual({ put: { likes: 0, views: tally.asked } });
    },
    ROUND_LIMIT_MS,
  );

  it(
    'is found again by stock clients with their own settings, once it is back',
    async () => {
      const gateway = await startGateway();
      const { url, port, dataDir } = gateway;
      const clients = [['websocket'], ['polling'], ['polling', 'websocket']].map(
        (transports, i) => new LedgerClient(url, `actor-${i}`, { transports }),
      );
      const actTogether = async (): Promise<void> => {
        for (const client of clients) client.act({ event: 'view', post: 'again' });
        await Promise.all(clients.map((client) => client.settled()));
      };
      await actTogether();
      expect(await gateway.kill('SIGTERM')).toBe(0);
      await startGateway({ PORT: String(port), DATA_DIR: dataDir });
      await actTogether();
      expect(await totalsAt(url, ['again'])).toEqual({ again: { likes: 0, views: 2 * clients.length } });
      expect(clients.map(({ byes }) => byes)).toEqual(clients.map(() => [BYE]));
    },
    ROUND_LIMIT_MS,
  );

  it(
    'is not mistaken for the next one by a stock client that comes while it drains',
    async () => {
      const gateway = await startGateway();
      const { url, port, dataDir } = gateway;
      await holdUpDrain(url);
      const ended = gateway.kill('SIGTERM');
      await untilUnready(url);
      const clients = [['websocket'], ['polling']].map((transports) => connect(url, {}, { transports, ...HASTY }));
      const connected = Promise.all(clients.map(untilConnected));
      expect(await ended).toBe(0);
      await startGateway({ PORT: String(port), DATA_DIR: dataDir });
      await connected;
    },
    ROUND_LIMIT_MS,
  );

  it(
    'says bye to event streams, after the last counts',
    async () => {
      const gateway = await startGateway(ENV);
      const { url } = gateway;
      const stream = new EventSource(`${url}/v1/stream?posts=streamed`);
      const said: unknown[] = [];
      const opened = once(stream, 'open');
      stream.addEventListener('counts', ({ data }) => said.push((JSON.parse(String(data)) as [unknown])[0]));
      const left = new Promise<void>((resolve) => {
        stream.addEventListener('bye', ({ data }) => {
          said.push(JSON.parse(String(data)));
          stream.close();
          resolve();
        });
      });
      await opened;
      const client = new LedgerClient(url, 'ada');
      client.act({ event: 'like', post: 'streamed' });
      await client.settled();
      client.act({ event: 'view', post: 'streamed' });
      await client.settled();
      expect(await gateway.kill('SIGTERM')).toBe(0);
      await left;
      expect(said.slice(-2)).toEqual([expect.objectContaining({ post: 'streamed', likes: 1, views: 1 }), BYE]);
    },
    ROUND_LIMIT_MS,
  );

  it('does not wait for connections on which nothing happens', async () => {
    const gateway = await startGateway();
    const { url, port } = gateway;
    const agent = new Agent({ keepAlive: true });
    const answer = await new Promise<number | undefined>((resolve, reject) => {
      get(`${url}/healthz`, { agent }, (response) =>
        response.resume().once('end', () => resolve(response.statusCode)),
      ).once('error', reject);
    });
    expect(answer).toBe(200);
    // Browsers open connections ahead of need and say nothing on them.
    const silent = connectTcp(port, '127.0.0.1');
    await once(silent, 'connect');
    // And one that says half of a request.
    const half = connectTcp(port, '127.0.0.1');
    half.write('GET /healthz HTTP/1.1\r\nHost: a\r\n');
    await once(half, 'connect');
    for (const socket of [silent, half]) socket.on('error', () => undefined);

    const from = performance.now();
    expect(await gateway.kill('SIGTERM')).toBe(0);
    expect(performance.now() - from).toBeLessThan(PROMPTLY_MS);
    agent.destroy();
    silent.destroy();
    half.destroy();
  }, 90_000);
});

/** Connects over long-polling and does not ask again, so that its bye cannot be delivered. */
async function holdUpDrain(url: string): Promise<void> {
  const path = `${url}/socket.io/?EIO=4&transport=polling`;
  const opened = await (await fetch(path)).text();
  const { sid } = JSON.parse(opened.slice(1)) as { sid: string };
  await fetch(`${path}&sid=${sid}`, { method: 'POST', body: '40' });
  await (await fetch(`${path}&sid=${sid}`)).text();
}

/** Asks until the gateway says that it is not ready. */
async function untilUnready(url: string): Promise<void> {
  await until(async () => !(await fetch(`${url}/readyz`)).ok, 'not ready');
}

/** Something to be waited for, by as many as like. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** Whether the gateway said so: it may refuse, or be gone before it answers. */
async function isCounted(url: string, key: string): Promise<boolean> {
  try {
    const body = JSON.stringify({ action: 'increment' });
    const response = await fetch(url, { method: 'PUT', headers: { 'Idempotency-Key': key }, body });
    await response.text();
    return response.ok;
  } catch {
    return false;
  }
}
