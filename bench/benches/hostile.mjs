/** Floods from one address, one kind after the other, and their effect on a client at another address. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { residentBytes } from '../acting/readings.mjs';
import { short } from '../harness/alternate.mjs';
import { start } from '../harness/processes.mjs';
import { check } from '../harness/results.mjs';
import { startGateway } from '../harness/servers.mjs';

export const title = 'connections of one address that flood it, and a victim at another';
/**
 * `hostile` connections are calm for `calmSeconds`, then flood for `floodSeconds`, for each kind. `only`: kinds,
 * comma-separated.
 */
export const options = { hostile: 150, floodSeconds: 60, calmSeconds: 20, only: '' };

const KINDS = [
  'likes over the rate',
  'unknown events',
  'bad payloads',
  'pongs of Engine.IO',
  'pings of WebSocket',
  'attempts to connect',
  'polling POSTs',
];
const FLOODING = join(import.meta.dirname, '..', 'acting', 'flooding.mjs');
const LIMITS = {
  MAX_OPS_PER_CONNECTION: '50',
  MAX_OPS_PER_ADDRESS: '500',
  MAX_CONNECTIONS_PER_ADDRESS: '200',
  TRUST_PROXY: 'loopback',
};
/** Interval of the victim's operations, below its own limit. */
const EVERY_MS = 50;
const ACKNOWLEDGED_MS = 250;
const MEMORY_RATIO_MAX = 1.3;

export async function run({ cores, log, options: { hostile, floodSeconds, calmSeconds, only } }) {
  const kinds = KINDS.filter((kind) => only === '' || only.split(',').includes(kind));
  const results = [];
  for (const [i, kind] of kinds.entries()) {
    const found = await attack(kind, `203.0.113.${i + 1}`, { cores, hostile, floodSeconds, calmSeconds });
    log(`  ${kind}: p99 ${short(found.flooded.p99)} ms, ${short(found.memoryRatio)} of the memory`);
    results.push({ kind, ...found });
  }
  return { tables: [table(results)], checks: results.flatMap(checks), data: { results } };
}

async function attack(kind, address, { cores, hostile, floodSeconds, calmSeconds }) {
  const server = await startGateway(LIMITS, cores.server);
  let logged = '';
  server.child.stdout.on('data', (text) => (logged += text));
  const victim = io(server.url, {
    transports: ['websocket'],
    extraHeaders: { 'X-Forwarded-For': '198.51.100.1' },
    forceNew: true,
  });
  const beginFlood = (what) =>
    start(process.execPath, [FLOODING, server.port, address, hostile, what], { core: cores.load });
  const others = beginFlood('calm likes');
  const calm = await victimFor(server, victim, calmSeconds);
  await others.end();
  const flooding = beginFlood(kind);
  const flooded = await victimFor(server, victim, floodSeconds);
  flooding.child.stdin.end();
  const ended = Number(await flooding.line((line) => /^\d+$/.test(line)));
  victim.close();
  await server.end();
  const kinds = logged
    .split('\n')
    .filter((line) => line.includes(`address ${address} `))
    .map((line) => /suspicious \(([a-z-]+)\)/.exec(line)?.[1]);
  // The log names an address once for each kind of suspicion, because each has another setting.
  const named = Math.max(0, ...kinds.map((one) => kinds.filter((other) => other === one).length));
  return { calm, flooded, ended, named, memoryRatio: flooded.bytes / calm.bytes };
}

/** Sends views one after the other, and requests /healthz after each tenth. */
async function victimFor(server, victim, seconds) {
  const latencies = [];
  let unanswered = 0;
  let bytes = 0;
  const endMs = performance.now() + seconds * 1_000;
  for (let i = 0; performance.now() < endMs; i++) {
    const startMs = performance.now();
    const answer = await victim
      .timeout(10_000)
      .emitWithAck('view', { post: 'victim' })
      .catch(() => null);
    latencies.push(performance.now() - startMs);
    if (answer?.ok !== true) unanswered += 1;
    bytes = Math.max(bytes, residentBytes(server.pid));
    if (i % 10 === 0) {
      const health = await globalThis.fetch(`${server.url}/healthz`).catch(() => null);
      if (health?.status !== 200) unanswered += 1;
      await health?.text();
    }
    await sleep(EVERY_MS);
  }
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))];
  return { p50: at(0.5), p99: at(0.99), most: latencies.at(-1), unanswered, bytes };
}

function table(results) {
  const rows = results.map(({ kind, calm, flooded, ended, named, memoryRatio }) => [
    kind,
    ...[calm.p99, flooded.p50, flooded.p99, flooded.most, memoryRatio, ended, named].map(short),
  ]);
  const columns = ['', 'calm p99 ms', 'p50 ms', 'p99 ms', 'longest ms', 'memory, of calm', 'ended', 'named in the log'];
  return { title, columns, rows };
}

function checks({ kind, flooded, memoryRatio, named }) {
  return [
    check(`${kind}: to the acknowledgement, p99 ms`, flooded.p99, { below: ACKNOWLEDGED_MS }),
    check(`${kind}: not answered, and /healthz likewise`, flooded.unanswered, { atMost: 0 }),
    check(`${kind}: memory, of calm`, memoryRatio, { atMost: MEMORY_RATIO_MAX }),
    check(`${kind}: lines of one kind that name the address`, named, { atMost: 1 }),
    check(`${kind}: the same`, named, { atLeast: 1 }),
  ];
}
