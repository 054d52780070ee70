import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { io, type Socket } from 'socket.io-client';
import { DirectSocket } from '../../src/gateway/transport/direct-socket.js';
import { type ProofConnection, ProofServer } from '../../src/gateway/proofs/proof-server.js';
import { type LocalGateway, startLocalGateway, stopLocalGateways } from '../support/local-gateway.js';
import { readMetrics } from '../support/metrics.js';
import { provedShortcuts } from '../support/proved-shortcuts.js';
import { Random } from '../support/random.js';
import { type Sabotage, sabotage } from '../support/sabotage.js';
import { until } from '../support/until.js';

/** Finds, from a connection, an object of Node or of a library whose internals the gateway uses. */
type Holder = (connection: ProofConnection) => object;

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const SABOTAGES: readonly Sabotage[] = ['absent', 'throwing', 'something else'];
const random = new Random(SEED);
const VIEWS_EACH = 5;
const CLIENTS = 3;

const transport: Holder = ({ socket }) => socket.conn.transport;
const engineSocket: Holder = ({ socket }) => socket.conn;
const webSocket: Holder = (connection) => Reflect.get(transport(connection), 'socket') as object;
const receiver: Holder = (connection) => Reflect.get(webSocket(connection), '_receiver') as object;
const handle: Holder = (connection) => {
  const tcp = Reflect.get(webSocket(connection), '_socket') as object;
  return Reflect.get(tcp, '_handle') as object;
};
/** The prototype that handles and their requests share. */
const asyncWrap: Holder = (connection) => {
  let holder = handle(connection);
  while (!Object.hasOwn(Object.getPrototypeOf(holder) as object, 'getAsyncId')) {
    holder = Object.getPrototypeOf(holder) as object;
  }
  return holder;
};
const client: Holder = ({ socket }) => socket.client;

/** Each internal, its holder, the shortcuts that fail without it, and whether traffic reveals its absence. */
const INTERNALS: readonly [property: string, holder: Holder, shortcuts: readonly string[], whileRunning: boolean][] = [
  ['writeBuffer', handle, ['libuv-write'], true],
  ['getAsyncId', asyncWrap, ['libuv-write'], false],
  ['readStop', handle, ['read-pause'], false],
  ['readStart', handle, ['read-pause'], false],
  ['constructor', handle, ['libuv-write'], true],
  ['socket', transport, ['direct-write', 'direct-read', 'handshake-memory', 'read-pause'], true],
  ['_socket', webSocket, ['direct-write', 'direct-read', 'handshake-memory', 'read-pause'], true],
  ['_receiver', webSocket, ['direct-read', 'handshake-memory'], true],
  ['_state', receiver, ['direct-read'], true],
  ['_bufferedBytes', receiver, ['direct-read'], true],
  ['_fragmented', receiver, ['direct-read'], true],
  ['_buffers', receiver, ['handshake-memory'], false],
  ['pingTimeoutTimer', engineSocket, ['direct-read', 'read-pause'], true],
  ['writeBuffer', engineSocket, ['unsent-packets'], false],
  ['sentCallbackFn', engineSocket, ['handshake-memory'], true],
  ['cleanupFn', engineSocket, ['handshake-memory'], true],
  ['decoder', client, ['packet-decoder', 'handshake-memory'], true],
  ['acks', ({ socket }) => socket, ['handshake-memory'], true],
];

const sockets: Socket[] = [];
const restorers: (() => void)[] = [];
let server: ProofServer;
/** Sabotage changes prototypes instead of objects, so that it affects new connections, too. */
const prototypes = new Map<Holder, object>();

beforeAll(async () => {
  server = await ProofServer.listen();
  const sample = await server.connect();
  for (const [, holder] of INTERNALS) prototypes.set(holder, Object.getPrototypeOf(holder(sample)) as object);
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close();
  await stopLocalGateways();
  for (const restore of restorers.splice(0)) restore();
});

afterAll(() => server.close());

/** Draws the kinds of sabotage of an internal: all of them at a larger scale, else one. */
function drawSabotages(whileRunning: boolean): { atBoot: readonly Sabotage[]; later: readonly Sabotage[] } {
  if (SCALE > 1) return { atBoot: SABOTAGES, later: whileRunning ? SABOTAGES : [] };
  const kinds = [random.pick(SABOTAGES)];
  return whileRunning && random.chance(0.5) ? { atBoot: [], later: kinds } : { atBoot: kinds, later: [] };
}

function sabotageInternal(property: string, holder: Holder, kind: Sabotage): void {
  restorers.push(sabotage(prototypes.get(holder)!, property, kind));
}

/** Lets several clients watch, view and like at once, and expects exact counts at each. */
async function expectExact(url: string, post: string): Promise<void> {
  const latest = new Map<Socket, { views: number; likes: number }>();
  const clients = Array.from({ length: CLIENTS }, (_, i) => {
    const auth = { actor: `${post}-${i}`, session: `session-${post}-${i}` };
    const socket = io(url, { transports: ['websocket'], auth, ackTimeout: 100_000, retries: 5, forceNew: true });
    sockets.push(socket);
    socket.on('counts', (updates: { views: number; likes: number }[]) => latest.set(socket, updates.at(-1)!));
    socket.on('connect', () => void socket.emit('subscribe', { posts: [post] }));
    return socket;
  });
  const acknowledged = clients.flatMap((socket) => [
    ...Array.from({ length: VIEWS_EACH }, (_, i) => socket.emitWithAck('view', { post, seq: i + 1 })),
    socket.emitWithAck('like', { post, seq: VIEWS_EACH + 1 }),
  ]);
  for (const acknowledgement of await Promise.all(acknowledged)) expect(acknowledgement).toMatchObject({ ok: true });
  const response = await fetch(`${url}/v1/counts?posts=${post}`);
  const exact = { views: CLIENTS * VIEWS_EACH, likes: CLIENTS };
  expect(await response.json()).toMatchObject({ counts: [exact] });
  await until(
    () =>
      clients.every((socket) => latest.get(socket)?.views === exact.views && latest.get(socket)?.likes === exact.likes),
    'every viewer has the exact counts',
  );
}

async function expectOff({ url, warnings }: LocalGateway, names: readonly string[]): Promise<void> {
  const page = await readMetrics(url);
  const off = [...page].flatMap(
    ([name, value]) => /^tallycast_shortcut\{name="(.+)"\}/.exec(name)?.[value === 0 ? 1 : 9] ?? [],
  );
  expect(off.sort()).toEqual([...names].sort());
  const named = warnings.map((warning) => /^shortcut (\S+) is off/.exec(warning)?.[1]);
  expect(named.sort()).toEqual([...names].sort());
}

describe('a gateway whose internals are as expected', () => {
  it('a gateway has all shortcuts on and logs no warning', async () => {
    const gateway = await startLocalGateway();
    await expectExact(gateway.url, 'expected');
    await expectOff(gateway, []);
  });
});

describe.each(INTERNALS)(
  `a gateway with an unexpected %s (TEST_SEED=${SEED})`,
  (property, holder, names, whileRunning) => {
    const { atBoot, later } = drawSabotages(whileRunning);

    if (atBoot.length > 0)
      it.each(atBoot)(
        'a gateway counts exactly and warns once a shortcut if an internal is %s at boot',
        async (kind) => {
          sabotageInternal(property, holder, kind);
          const gateway = await startLocalGateway();
          await expectExact(gateway.url, 'boot');
          await expectOff(gateway, names);
        },
      );

    if (later.length > 0)
      it.each(later)('a gateway counts exactly and warns once a shortcut if an internal becomes %s', async (kind) => {
        const gateway = await startLocalGateway();
        await expectExact(gateway.url, 'before');
        sabotageInternal(property, holder, kind);
        await expectExact(gateway.url, 'after');
        const found = gateway.warnings.map((warning) => /^shortcut (\S+) is off/.exec(warning)?.[1]);
        expect(found.length).toBeGreaterThan(0);
        expect(names).toEqual(expect.arrayContaining(found));
        await expectOff(gateway, found as string[]);
      });
  },
);

describe('a connection that the gateway wants to pause', () => {
  it.each(['readStop', 'readStart'].flatMap((property) => SABOTAGES.map((kind) => [property, kind] as const)))(
    'a connection is read on or closed when %s becomes unexpected (%s) before a pause',
    async (property, kind) => {
      const warnings: string[] = [];
      const shortcuts = await provedShortcuts((message) => warnings.push(message));
      const connection = await server.connect();
      const direct = DirectSocket.open(connection.socket.conn, shortcuts)!;
      const paused = property === 'readStart' && direct.pauseReading();
      sabotageInternal(property, handle, kind);
      if (paused) direct.resumeReading();
      else expect(direct.pauseReading()).toBe(false);
      expect(shortcuts.readPause.isOn).toBe(false);
      expect(warnings).toHaveLength(1);
      if (paused) await until(() => connection.socket.conn.readyState === 'closed', 'the connection is closed');
    },
  );
});
