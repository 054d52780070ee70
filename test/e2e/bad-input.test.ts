import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Socket } from 'socket.io-client';
import { closeClients, connect } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics, countOperations } from '../support/metrics.js';
import { Polling } from '../support/polling.js';
import { RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';
import { BAD_EVENTS, TARGET, TARGETS } from './bad-input-cases.js';
import { BAD_PACKETS, BREAKING, IGNORED } from './bad-input-wire-cases.js';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ MAX_OPS_PER_CONNECTION: '0' });
  const socket = connect(gateway.url, { actor: 'ada' });
  for (const post of TARGETS) {
    await socket.emitWithAck('like', { post });
    await socket.emitWithAck('view', { post });
  }
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

/** Reads the state that bad input must not change. The counts include `updated_at`. */
async function state(): Promise<unknown> {
  const response = await fetch(`${gateway.url}/v1/counts?posts=${TARGETS.join()}`);
  const metrics = await readMetrics(gateway.url);
  return {
    counts: await response.json(),
    done: countOperations(metrics, 'applied', 'unchanged', 'duplicate'),
    watched: metrics.get('tallycast_watched_posts'),
  };
}

/** Compares the state before and after all tests of a group. */
function changesNothing(): void {
  let before: unknown;
  beforeAll(async () => {
    before = await state();
  });
  it('bad input changes nothing', async () => {
    expect(await state()).toEqual(before);
    expect(before).toMatchObject({
      counts: { counts: TARGETS.map((post) => ({ post, likes: 1, views: 1, live: 0 })) },
    });
  });
}

function rejection({ code, message }: { readonly code: string; readonly message: string }): unknown {
  const start = message.replaceAll(/[^\w ]/g, '\\$&');
  return { ok: false, error: { code, message: expect.stringMatching(`^${start}`) as unknown, retryable: false } };
}

describe.each(['websocket', 'polling'])('a stock client over %s', (transport) => {
  let socket: Socket;

  beforeAll(async () => {
    socket = connect(gateway.url, { actor: 'ada' }, { transports: [transport] });
    await new Promise<void>((resolve) => socket.once('connect', resolve));
  });

  describe.each(Object.entries(BAD_EVENTS))('%s', (_group, cases) => {
    it.each(cases)('the gateway rejects $title', async ({ event, args, ...expected }) => {
      expect(await socket.emitWithAck(event, ...args)).toEqual(rejection(expected));
      expect(await socket.emitWithAck('unsubscribe', { posts: [TARGET] })).toEqual({ ok: true });
    });

    changesNothing();
  });
});

describe('packets that no stock client sends', () => {
  let raw: RawSocket;

  beforeAll(async () => {
    raw = await RawSocket.connect(gateway.url);
  });

  afterAll(() => raw.destroy());

  it.each(BAD_PACKETS)('the gateway rejects $title', async ({ packet, attachments = [], ...expected }) => {
    expect(await raw.emitWithAck(packet, ...attachments)).toEqual(rejection(expected));
    expect(await raw.emitWithAck('2#["unsubscribe",{"posts":["target"]}]')).toEqual({ ok: true });
  });

  it('all bad packets in one request are rejected, each with its error', async () => {
    const polling = await Polling.connect(gateway.url);
    const cases = BAD_PACKETS.filter(
      ({ attachments = [], packet }) => attachments.length === 0 && packet.length < 1_000,
    );
    const answers = await polling.emitWithAck([
      ...cases.map(({ packet }) => packet),
      '2#["unsubscribe",{"posts":["target"]}]',
    ]);
    expect(answers).toEqual([...cases.map(rejection), { ok: true }]);
  });

  it.each(IGNORED)('%s is ignored', async (_title, packet) => {
    raw.send(packet);
    expect(await raw.emitWithAck('2#["unsubscribe",{"posts":["target"]}]')).toEqual({ ok: true });
  });

  changesNothing();
});

describe('packets that end the connection', () => {
  it.each(BREAKING)('a connection ends after %s', async (_title, packet) => {
    const raw = await RawSocket.connect(gateway.url);
    await raw.emitWithAck('2#["subscribe",{"posts":["brief"]}]');
    raw.send(packet);
    raw.send('42["like",{"post":"target"}]');
    await raw.closed;
  });

  it.each(BREAKING.filter(([, packet]) => packet.length < 1_000))(
    'a connection ends after %s, over polling',
    async (_title, packet) => {
      const polling = await Polling.connect(gateway.url);
      // The request may get a response or a reset; in both cases the session has ended.
      await polling.send(packet, '42["like",{"post":"target"}]').catch(() => undefined);
      await until(() => polling.hasEnded(), 'the end');
    },
  );

  it('connections that were ended leave no viewer behind', async () => {
    await until(async () => {
      const metrics = await readMetrics(gateway.url);
      return metrics.get('tallycast_watched_posts') === 0 && metrics.get('tallycast_viewer_connections') === 0;
    }, 'no viewer is left');
  });

  changesNothing();
});
