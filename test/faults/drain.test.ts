import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Agent, get } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { once } from 'node:events';
import { EventSource } from 'eventsource';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients, connect, LedgerClient, readTotals, untilClosed, untilConnected } from '../support/clients.js';
import { Crowd, FAST_RECONNECT } from '../support/clients-crowd.js';
import { TestViewer } from '../support/clients-viewer.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';
import { untilUpgraded } from './upgrades.js';

const SOCKETS = 20;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const ROUNDS = SCALE;
/** Clients have 3 s to receive their last frames, too little for a slow machine. */
const TIME_SCALE = 5;
const ENV = { MAX_OPS_PER_CONNECTION: '0' };
const BYE = { reason: expect.stringMatching(/./), retryAfterMs: expect.any(Number) };

describe('a gateway that is ended by SIGTERM', () => {
  const random = new Random(SEED);
  let crowd: Crowd;
  let viewers: TestViewer[];
  let streamed: readonly unknown[];
  let exitCode: number | null;
  /** The next gateway, on the same data. */
  let gateway: GatewayProcess;

  beforeAll(async () => {
    const first = await startGateway(ENV, { timeScale: TIME_SCALE });
    const { url, port, dataDir } = first;
    crowd = new Crowd(url, SOCKETS, POSTS, random, { reconnection: false });
    viewers = ['websocket', 'polling'].map(
      (transport) => new TestViewer(url, POSTS, { transports: [transport], reconnection: false }),
    );
    await Promise.all(viewers.map((viewer) => viewer.untilSubscribed()));
    const stream = await openStream(url, 'streamed');
    const enough = crowd.untilAcknowledgements(400 + random.below(400));
    crowd.act();
    await enough;
    await untilUpgraded(crowd);
    await actOnStreamed(url);

    const ended = first.kill('SIGTERM');
    await Promise.all([...crowd.clients, ...viewers].map(({ socket }) => untilClosed(socket)));
    streamed = await stream.received;
    exitCode = await ended;
    gateway = await startGateway({ ...ENV, PORT: String(port), DATA_DIR: dataDir });
  }, LIMIT_MS);

  afterAll(async () => {
    await closeClients();
    await stopAll();
  });

  it(`a drained gateway has counted exactly what it acknowledged, and sent it before bye (TEST_SEED=${SEED})`, async () => {
    expect(exitCode).toBe(0);
    const parties = [...crowd.clients, ...viewers];
    expect(parties.map(({ byes }) => byes)).toEqual(parties.map(() => [BYE]));
    const totals = await readTotals(gateway.url, POSTS);
    expect(totals).toEqual(crowd.acknowledged);
    for (const { totalsAtBye } of viewers) expect(totalsAtBye).toEqual(totals);
  });

  it('a drained gateway sends bye to event streams after the last counts', () => {
    expect(streamed.slice(-2)).toEqual([expect.objectContaining({ post: 'streamed', likes: 1, views: 1 }), BYE]);
  });

  it(
    `${ROUNDS} drains in a row lose nothing when clients retry (TEST_SEED=${SEED})`,
    async () => {
      const { url } = gateway;
      const posts = POSTS.map((post) => `resent-${post}`);
      const returning = new Crowd(url, SOCKETS, posts, random, FAST_RECONNECT, SOCKETS);
      for (let round = 1; round <= ROUNDS; round++) {
        const putters = new Putters(`${url}/v1/put-${round}/views`);
        const enough = returning.untilAcknowledgements(200 + random.below(200));
        returning.act();
        await Promise.all([enough, putters.enough.opened]);
        await untilUpgraded(returning);
        await restart(() => putters.end());
        putters.startedAgain.open();
        await returning.untilAcknowledgements(SOCKETS);
        returning.stop();
        await Promise.all([returning.untilAcknowledged(), putters.done]);
        expect({ round, totals: await readTotals(url, posts) }).toEqual({ round, totals: returning.sent });
        expect(await readTotals(url, [`put-${round}`])).toEqual({
          [`put-${round}`]: { likes: 0, views: putters.sent },
        });
      }
    },
    LIMIT_MS,
  );

  it('stock clients with default settings reconnect after a drain, which does not wait for idle connections', async () => {
    const { url, port } = gateway;
    const clients = [['websocket'], ['polling'], ['polling', 'websocket']].map(
      (transports, i) => new LedgerClient(url, `actor-${i}`, { transports }),
    );
    const actTogether = async (): Promise<void> => {
      for (const client of clients) client.act({ event: 'view', post: 'again' });
      await Promise.all(clients.map((client) => client.untilAcknowledged()));
    };
    await actTogether();
    await untilUpgraded({ clients });
    const closeIdle = await openIdleConnections(url, port);
    // A gateway that waited for idle connections would end at its limit of 20 s, with exit code 1.
    await restart();
    closeIdle();
    await actTogether();
    expect(await readTotals(url, ['again'])).toEqual({ again: { likes: 0, views: 2 * clients.length } });
    expect(clients.map(({ byes }) => byes)).toEqual(clients.map(() => [BYE]));
  });

  it('a stock client that connects during a drain reaches the next gateway', async () => {
    const { url } = gateway;
    await delayDrain(url);
    let connected: Promise<unknown> = Promise.resolve();
    await restart(async () => {
      await untilUnready(url);
      const clients = [['websocket'], ['polling']].map((transports) =>
        connect(url, {}, { transports, ...FAST_RECONNECT }),
      );
      connected = Promise.all(clients.map(untilConnected));
    });
    await connected;
  });

  /** @param meanwhile runs while the gateway drains */
  async function restart(meanwhile: () => Promise<void> | void = () => undefined): Promise<void> {
    const { port, dataDir } = gateway;
    const ended = gateway.kill('SIGTERM');
    await meanwhile();
    expect(await ended).toBe(0);
    gateway = await startGateway({ ...ENV, PORT: String(port), DATA_DIR: dataDir });
  }
});

/** Resolves when the stream is open. `received` resolves with its messages up to bye. */
async function openStream(url: string, post: string): Promise<{ received: Promise<readonly unknown[]> }> {
  const stream = new EventSource(`${url}/v1/stream?posts=${post}`);
  const messages: unknown[] = [];
  const opened = once(stream, 'open');
  stream.addEventListener('counts', ({ data }) => messages.push((JSON.parse(String(data)) as [unknown])[0]));
  const received = new Promise<readonly unknown[]>((resolve) => {
    stream.addEventListener('bye', ({ data }) => {
      messages.push(JSON.parse(String(data)));
      stream.close();
      resolve(messages);
    });
  });
  await opened;
  return { received };
}

async function actOnStreamed(url: string): Promise<void> {
  const client = new LedgerClient(url, 'ada', { reconnection: false });
  for (const event of ['like', 'view'] as const) {
    client.act({ event, post: 'streamed' });
    await client.untilAcknowledged();
  }
}

/** Parallel HTTP clients that retry each request with the same key until it succeeds. */
class Putters {
  sent = 0;
  readonly enough = createGate();
  readonly startedAgain = createGate();
  readonly done: Promise<unknown>;
  #acknowledged = 0;
  #ending = false;

  constructor(private readonly url: string) {
    this.done = Promise.all(Array.from({ length: SOCKETS }, () => this.#put()));
  }

  end(): void {
    this.#ending = true;
  }

  async #put(): Promise<void> {
    while (!this.#ending) {
      const key = randomUUID();
      this.sent += 1;
      while (!(await isCounted(this.url, key))) await this.startedAgain.opened;
      this.#acknowledged += 1;
      if (this.#acknowledged === 10 * SOCKETS) this.enough.open();
    }
  }
}

/** Opens connections that stay idle. @returns a function that closes them */
async function openIdleConnections(url: string, port: number): Promise<() => void> {
  const agent = new Agent({ keepAlive: true });
  const status = await new Promise<number | undefined>((resolve, reject) => {
    get(`${url}/healthz`, { agent }, (response) =>
      response.resume().once('end', () => resolve(response.statusCode)),
    ).once('error', reject);
  });
  expect(status).toBe(200);
  // Browsers open connections in advance and send nothing on them. One more sends half of a request.
  const [unused, half] = [connectTcp(port, '127.0.0.1'), connectTcp(port, '127.0.0.1')];
  half.write('GET /healthz HTTP/1.1\r\nHost: a\r\n');
  for (const socket of [unused, half]) {
    await once(socket, 'connect');
    socket.on('error', () => undefined);
  }
  return () => {
    agent.destroy();
    unused.destroy();
    half.destroy();
  };
}

/** Connects over long-polling and then stops polling, so that its bye cannot be delivered. */
async function delayDrain(url: string): Promise<void> {
  const path = `${url}/socket.io/?EIO=4&transport=polling`;
  const opened = await (await fetch(path)).text();
  const { sid } = JSON.parse(opened.slice(1)) as { sid: string };
  await fetch(`${path}&sid=${sid}`, { method: 'POST', body: '40' });
  await (await fetch(`${path}&sid=${sid}`)).text();
}

/** Polls until the gateway is not ready. */
async function untilUnready(url: string): Promise<void> {
  await until(async () => !(await fetch(`${url}/readyz`)).ok, 'not ready');
}

/** A promise with its resolver, for any number of waiters. */
function createGate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** @returns whether the gateway confirmed the request. It may reject it, or end before it responds. */
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
