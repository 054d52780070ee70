/** Costs of replication: operations with two peers compared with none, lag to a peer, and bytes to a peer. */
import { setTimeout as pause } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { startActing, wrongTotals } from '../acting/acting.mjs';
import { alternate } from '../harness/alternate.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { freePort, startGateway, startRedis } from '../harness/servers.mjs';

export const title = 'what an operation costs with two peers beside none; lag and bytes to a peer';
/**
 * `rate`: operations a second, within what the peers leave of the load's core. `probes`: operations whose lag is measured.
 * `wide`: posts that change once each to measure bytes.
 */
export const options = { warmup: 3, posts: 1_000, rate: 8_000, probes: 200, wide: 20_000 };

const RATIO_MIN = 0.85;
const BYTES_MAX = 40;
const TICK_MS = 100;
const INTERVAL_MS = 100;
const PEER_TOKEN = 'token-of-the-benchmark';
/** Posts in parallel, so few that no batch is full. */
const WIDE_AT_ONCE = 200;
const SETTLE_MS = 3_000;

export async function run(context) {
  const { log, rounds, cores } = context;
  const result = await alternate(
    ['embedded, alone', 'embedded, two peers', 'Redis, alone', 'Redis, two peers'].map((name) => ({
      name,
      measure: () => measureRate(name, context),
    })),
    { rounds, baseline: 'embedded, alone', log },
  );
  const link = await measureLink(context.options, cores);
  const ratio = (store) =>
    median(
      result.rounds.map((round) => round[`${store}, alone`].serverMicros / round[`${store}, two peers`].serverMicros),
    );
  const columns = { operationsPerSecond: 'operations/s', serverMicros: 'server µs each', redisMicros: 'Redis µs each' };
  return {
    tables: [tableOf('what an operation costs, at the same rate; peers on the core of the load', result, columns)],
    checks: [
      ...['embedded', 'Redis'].map((store) =>
        check(`${store}: operations by CPU of the gateway, of those without peers`, ratio(store), {
          atLeast: RATIO_MIN,
        }),
      ),
      check('posts with wrong totals', Math.max(...Object.values(result.figures).map((of) => of.wrongTotals.max)), {
        atMost: 0,
      }),
      check('from an operation in one region to the screen in another, p99 ms', link.lagP99, {
        atMost: 2 * TICK_MS + INTERVAL_MS,
      }),
      check('the same, median ms', link.lagP50, { atMost: 2 * TICK_MS + INTERVAL_MS }),
      check('bytes to a peer for each changed post', link.bytesAPost, { below: BYTES_MAX }),
    ],
    flags: result.flags,
    data: { ...result, link },
  };
}

/** @returns the gateways of three regions; the first runs on `core` and may have a Redis */
async function startRegions(core, otherCore, redis) {
  const names = ['eu', 'us', 'ap'];
  const ports = [];
  while (ports.length < names.length) ports.push(await freePort());
  const envOf = (i) => ({
    REGION: names[i],
    PORT: String(ports[i]),
    PEER_TOKEN,
    PEERS: names
      .map((name, j) => `${name}=http://127.0.0.1:${ports[j]}`)
      .filter((_, j) => j !== i)
      .join(','),
    ...(i === 0 && redis !== null && { REDIS_URL: redis.url }),
  });
  const servers = [];
  for (const [i] of names.entries()) servers.push(await startGateway(envOf(i), i === 0 ? core : otherCore));
  return servers;
}

async function measureRate(name, { cores, seconds, options: { warmup, posts, rate } }) {
  const redis = name.startsWith('Redis') ? await startRedis(cores.load) : null;
  const alone = name.endsWith('alone');
  const servers = alone
    ? [await startGateway(redis === null ? {} : { REDIS_URL: redis.url }, cores.server)]
    : await startRegions(cores.server, cores.load, redis);
  const [server] = servers;
  try {
    const pids = [server.pid, ...(redis === null ? [] : [redis.pid])];
    const load = {
      core: cores.load,
      port: server.port,
      pids,
      connections: 1_000,
      window: 64,
      rate,
      warmup,
      seconds,
      posts,
    };
    const found = await startActing(load).result();
    const [serverMicros, redisMicros = 0] = found.micros;
    const { operationsPerSecond } = found;
    return { operationsPerSecond, serverMicros, redisMicros, wrongTotals: await wrongTotals(server, found) };
  } finally {
    await Promise.all([...servers, ...(redis === null ? [] : [redis])].map((one) => one.end()));
  }
}

async function measureLink({ probes, wide }, cores) {
  const servers = await startRegions(cores.server, cores.load, null);
  const [from, to] = servers;
  try {
    await until(async () => (await regionsOf(from)).every(({ up }) => up), 'all links are up');
    const lags = await lagsOf(from, to, probes);
    const bytesAPost = await bytesOf(from, wide);
    return { lagP50: lags[Math.floor(probes / 2)], lagP99: lags[Math.floor(probes * 0.99)], bytesAPost };
  } finally {
    await Promise.all(servers.map((one) => one.end()));
  }
}

async function lagsOf(from, to, probes) {
  const [actor, viewer] = [io(from.url, { transports: ['websocket'] }), io(to.url, { transports: ['websocket'] })];
  let seen = 0;
  let notify = null;
  viewer.on('counts', (updates) => {
    seen = updates.find(({ post }) => post === 'probe')?.views ?? seen;
    notify?.();
  });
  await viewer.emitWithAck('subscribe', { posts: ['probe'] });
  const lags = [];
  for (let n = 1; n <= probes; n++) {
    const at = performance.now();
    actor.emit('view', { post: 'probe' });
    await new Promise((resolve) => {
      notify = () => seen >= n && resolve();
      notify();
    });
    lags.push(performance.now() - at);
    await pause(2 * TICK_MS + Math.random() * TICK_MS);
  }
  actor.close();
  viewer.close();
  return lags.sort((a, b) => a - b);
}

/** Measures bytes to one peer while each post changes once, without the idle traffic. */
async function bytesOf(server, wide) {
  await pause(SETTLE_MS);
  const idle = -(await bytesSent(server)) + (await pause(SETTLE_MS), await bytesSent(server));
  const before = await bytesSent(server);
  const startedAt = performance.now();
  for (let first = 0; first < wide; first += WIDE_AT_ONCE) {
    await Promise.all(
      Array.from({ length: WIDE_AT_ONCE }, (_, i) =>
        globalThis
          .fetch(`${server.url}/v1/post-${100_000 + first + i}/views`, {
            method: 'PUT',
            headers: { 'Content-Type': 'application/json' },
            body: '{"action":"increment"}',
          })
          .then((response) => response.arrayBuffer()),
      ),
    );
  }
  await until(async () => (await regionsOf(server)).every(({ lagChanges }) => lagChanges === 0), 'all is shipped');
  const seconds = (performance.now() - startedAt) / 1_000;
  return ((await bytesSent(server)) - before - (idle * seconds) / (SETTLE_MS / 1_000)) / wide;
}

async function bytesSent(server) {
  const text = await (await globalThis.fetch(`${server.url}/metrics`)).text();
  return Number(/^tallycast_replication_sent_bytes_total\{peer="us"\} (\S+)$/m.exec(text)[1]);
}

async function regionsOf(server) {
  return (await (await globalThis.fetch(`${server.url}/v1/regions`)).json()).peers;
}

async function until(condition, what) {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await pause(50)) if (await condition()) return;
  throw new Error(`not within a minute: ${what}`);
}

function median(list) {
  return list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
}
