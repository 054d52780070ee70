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

/** An object of Node's or of a library's that the gateway looks into, found from a connection. */
type Holder = (connection: ProofConnection) => object;

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const HOWS: readonly Sabotage[] = ['absent', 'throwing', 'something else'];
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
/** Of the class that handles and their requests share. */
const asyncWrap: Holder = (connection) => {
  let holder = handle(connection);
  while (!Object.hasOwn(Object.getPrototypeOf(holder) as object, 'getAsyncId')) {
    holder = Object.getPrototypeOf(holder) as object;
  }
  return holder;
};
const client: Holder = ({ socket }) => socket.client;

/** Each internal, its holder, the shortcuts that fail without it, and whether traffic shows it while running. */
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
const undone: (() => void)[] = [];
let server: ProofServer;
/** Prototypes are spoilt, not objects, so that other connections have it, too. */
const prototypes = new Map<Holder, object>();

beforeAll(async () => {
  server = await ProofServer.listen();
  const sample = await server.connect();
  for (const [, holder] of INTERNALS) prototypes.set(holder, Object.getPrototypeOf(holder(sample)) as object);
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close();
  await stopLocalGateways();
  for (const undo of undone.splice(0)) undo();
});

afterAll(() => server.close());

/** The ways that are tried with an internal: all of them at a larger scale, else one, which is drawn. */
function drawn(whileRunning: boolean): { atBoot: readonly Sabotage[]; later: readonly Sabotage[] } {
  if (SCALE > 1) return { atBoot: HOWS, later: whileRunning ? HOWS : [] };
  const how = [random.pick(HOWS)];
  return whileRunning && random.chance(0.5) ? { atBoot: [], later: how } : { atBoot: how, later: [] };
}

function spoil(property: string, holder: Holder, how: Sabotage): void {
  undone.push(sabotage(prototypes.get(holder)!, property, how));
}

/** Clients that view and like at once, each operation until it is acknowledged, while all of them watch. */
async function expectExact(url: string, post: string): Promise<void> {
  const shown = new Map<Socket, { views: number; likes: number }>();
  const clients = Array.from({ length: CLIENTS }, (_, i) => {
    const auth = { actor: `${post}-${i}`, session: `session-of-${post}-${i}` };
    const socket = io(url, { transports: ['websocket'], auth, ackTimeout: 100_000, retries: 5, forceNew: true });
    sockets.push(socket);
    socket.on('counts', (updates: { views: number; likes: number }[]) => shown.set(socket, updates.at(-1)!));
    socket.on('connect', () => void socket.emit('subscribe', { posts: [post] }));
    return socket;
  });
  const acknowledged = clients.flatMap((socket) => [
    ...Array.from({ length: VIEWS_EACH }, (_, i) => socket.emitWithAck('view', { post, seq: i + 1 })),
    socket.emitWithAck('like', { post, seq: VIEWS_EACH + 1 }),
  ]);
  for (const answer of await Promise.all(acknowledged)) expect(answer).toMatchObject({ ok: true });
  const response = await fetch(`${url}/v1/counts?posts=${post}`);
  const exact = { views: CLIENTS * VIEWS_EACH, likes: CLIENTS };
  expect(await response.json()).toMatchObject({ counts: [exact] });
  await until(
    () =>
      clients.every((socket) => shown.get(socket)?.views === exact.views && shown.get(socket)?.likes === exact.likes),
    'every viewer is shown the exact counts',
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
  it('has all shortcuts on, and says nothing', async () => {
    const gateway = await startLocalGateway();
    await expectExact(gateway.url, 'expected');
    await expectOff(gateway, []);
  });
});

describe.each(INTERNALS)(`with %s other than expected (TEST_SEED=${SEED})`, (property, holder, names, whileRunning) => {
  const { atBoot, later } = drawn(whileRunning);

  if (atBoot.length > 0)
    it.each(atBoot)('(%s) at boot, a gateway is exact, and says once what is off', async (how) => {
      spoil(property, holder, how);
      const gateway = await startLocalGateway();
      await expectExact(gateway.url, 'boot');
      await expectOff(gateway, names);
    });

  if (later.length > 0)
    it.each(later)('(%s) while it runs, a gateway is exact, and says once what is off', async (how) => {
      const gateway = await startLocalGateway();
      await expectExact(gateway.url, 'before');
      spoil(property, holder, how);
      await expectExact(gateway.url, 'after');
      const found = gateway.warnings.map((warning) => /^shortcut (\S+) is off/.exec(warning)?.[1]);
      expect(found.length).toBeGreaterThan(0);
      expect(names).toEqual(expect.arrayContaining(found));
      await expectOff(gateway, found as string[]);
    });
});

describe('a connection that is to be paused', () => {
  it.each(['readStop', 'readStart'].flatMap((property) => HOWS.map((how) => [property, how] as const)))(
    'is read on or closed when %s is other than expected (%s) while the gateway runs',
    async (property, how) => {
      const warnings: string[] = [];
      const shortcuts = await provedShortcuts((message) => warnings.push(message));
      const connection = await server.connect();
      const direct = DirectSocket.open(connection.socket.conn, shortcuts)!;
      const paused = property === 'readStart' && direct.pauseReading();
      spoil(property, handle, how);
      if (paused) direct.resumeReading();
      else expect(direct.pauseReading()).toBe(false);
      expect(shortcuts.readPause.isOn).toBe(false);
      expect(warnings).toHaveLength(1);
      if (paused) await until(() => connection.socket.conn.readyState === 'closed', 'the connection is closed');
    },
  );
});
