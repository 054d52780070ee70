import type { Clock } from '../../../common/clock.js';
import { sleep } from '../../../common/sleep.js';
import { formatAddress, type RedisTarget } from '../../../config/redis-url.js';
import { checkServer, type ServerCheckOptions } from './server-check.js';
import { isAllReachable, type Topology } from './topology.js';

/** How long servers may take to become reachable, e.g. when all are started together. */
export const STARTUP_MS = 10_000;
const CHECK_INTERVAL_MS = 20;
/** The same if none of the addresses that a cluster announces can be reached: no route will appear later. */
const ANNOUNCED_MS = 2_500;
/** Errors that a retry cannot fix. */
const PERMANENT =
  /WRONGPASS|NOAUTH|NOPERM|certificate|altname|SSL|TLS|not a node of a cluster|no primary of that name|not sentinels/i;
/** Errors of commands whose connection ended: they say nothing about the server. */
const CONNECTION_LOST = /connection was lost|not connected|no reply to|connection is closed/i;

interface StartupOptions extends ServerCheckOptions {
  readonly clock: Clock;
}

/**
 * Waits until all servers are reachable, and checks them.
 * @throws Error, one line
 */
export async function startUp(topology: Topology, target: RedisTarget, options: StartupOptions): Promise<void> {
  const { clock } = options;
  const endMs = clock.nowMs() + STARTUP_MS;
  for (;;) {
    await untilReachable(topology, target, clock);
    try {
      for (const { writes } of topology.servers) await checkServer(writes, target.kind, options);
      return;
    } catch (error) {
      if (!CONNECTION_LOST.test((error as Error).message) || clock.nowMs() > endMs) throw error;
    }
  }
}

async function untilReachable(topology: Topology, target: RedisTarget, clock: Clock): Promise<void> {
  const endMs = clock.nowMs() + STARTUP_MS;
  let completeAtMs = Infinity;
  while (!isAllReachable(topology)) {
    const reason = lastErrorIn(topology);
    if (topology.isComplete) completeAtMs = Math.min(completeAtMs, clock.nowMs());
    if (clock.nowMs() - completeAtMs > ANNOUNCED_MS) expectReachableAddresses(topology, target, reason);
    if (clock.nowMs() > endMs || PERMANENT.test(reason)) throw new Error(`could not connect: ${reason}`);
    await sleep(clock, CHECK_INTERVAL_MS);
  }
}

function lastErrorIn({ isComplete, lastError, servers }: Topology): string {
  if (!isComplete) return lastError;
  return [...servers].find(({ isUp }) => !isUp)?.lastError ?? '';
}

/** @throws Error if a cluster announces its nodes by addresses that REDIS_URL does not name, and none of them answers */
function expectReachableAddresses(topology: Topology, { kind, addresses }: RedisTarget, reason: string): void {
  const given = new Set(addresses.map(formatAddress));
  const servers = [...topology.servers];
  const announced = servers.find(({ name }) => !given.has(name));
  if (kind !== 'cluster' || announced === undefined || servers.some(({ writes }) => writes.isUp)) return;
  throw new Error(
    `the cluster announces its nodes as ${servers.map(({ name }) => name).join(', ')}, and none of these can be reached (${reason}); ` +
      `set cluster-announce-ip of the nodes, or REDIS_NAT_MAP=${announced.name}=host:port,… to where they are reached`,
  );
}
