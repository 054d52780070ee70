import { Cluster, type Redis } from 'ioredis';
import { freePort } from './free-port.js';
import { withClient, closeWithRedis, type RedisServer, startRedis, untilInSync } from './redis-server.js';
import { until } from './until.js';

/** A Redis Cluster. Its first nodes start as primaries, with the slots divided evenly in that order. */
export interface RedisCluster {
  /** `redis+cluster://h:p,h:p,…` with all nodes. */
  readonly url: string;
  readonly nodes: readonly RedisServer[];
  /** A new client for the test itself, which follows failovers. `stopRedis` closes it. */
  client(): Cluster;
  /** Resolves with the owner of a slot by the newest configuration of any running node. */
  findPrimary(slot: number): Promise<RedisServer>;
  /** Moves a slot with its keys to another primary, a few keys at a time, while it is in use. */
  moveSlot(slot: number, to: RedisServer): Promise<void>;
}

export interface ClusterSize {
  readonly primaries?: number;
  readonly replicasEach?: number;
  /** Time without a reply after which a node counts as failed. The default avoids failovers on a busy machine. */
  readonly nodeTimeoutMs?: number;
}

const SLOTS = 16_384;
/** Few keys a step, so that the slot is used while it moves. */
const KEYS_PER_STEP = 10;
const MIGRATE_MS = 5_000;

interface Member {
  readonly server: RedisServer;
  readonly busPort: number;
  readonly client: Redis;
  readonly id: string;
}

/** Starts a cluster and resolves when all nodes find it complete and all replicas are in sync. Takes about 3 s. */
export async function startCluster(size: ClusterSize = {}): Promise<RedisCluster> {
  const { primaries: count = 3, replicasEach = 1, nodeTimeoutMs = 15_000 } = size;
  const members = await Promise.all(
    Array.from({ length: count * (1 + replicasEach) }, () => startMember(nodeTimeoutMs)),
  );
  const primaries = members.slice(0, count);
  await Promise.all(members.map(({ client }, i) => client.cluster('SET-CONFIG-EPOCH', i + 1)));
  await divideSlots(primaries);
  await introduce(members);
  await Promise.all(
    members.slice(count).map(async (replica, i) => {
      const primary = primaries[i % count]!;
      await replica.client.cluster('REPLICATE', primary.id);
      await untilInSync(replica.server, primary.server);
    }),
  );
  await untilAll(members, isComplete, 'the cluster is complete');
  for (const { client } of members) client.disconnect();
  return makeCluster(members);
}

function makeCluster(members: readonly Member[]): RedisCluster {
  const nodes = members.map(({ server }) => server);
  const idFor = (server: RedisServer): string => members.find((member) => member.server === server)!.id;
  const primaryOf = async (slot: number): Promise<RedisServer> => {
    const id = await findOwner(slot, nodes);
    return members.find((member) => member.id === id)!.server;
  };
  return {
    url: `redis+cluster://${nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`,
    nodes,
    client: () => closeWithRedis(new Cluster(nodes.map(({ host, port }) => ({ host, port })))),
    findPrimary: primaryOf,
    async moveSlot(slot, to) {
      const from = await primaryOf(slot);
      if (from === to) return;
      const servers = members.map(({ server }) => server);
      await untilAgreed(servers);
      await moveSlot(slot, { server: from, id: idFor(from) }, { server: to, id: idFor(to) });
      await untilAgreed(servers);
    },
  };
}

async function startMember(nodeTimeoutMs: number): Promise<Member> {
  const busPort = await freePort();
  const server = await startRedis({
    args: [
      ...['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-announce-ip', '127.0.0.1'],
      ...['--cluster-node-timeout', String(nodeTimeoutMs)],
    ],
  });
  const client = server.client();
  return { server, busPort, client, id: await client.cluster('MYID') };
}

async function divideSlots(primaries: readonly Member[]): Promise<void> {
  const start = (i: number): number => Math.floor((i * SLOTS) / primaries.length);
  await Promise.all(primaries.map(({ client }, i) => client.cluster('ADDSLOTSRANGE', start(i), start(i + 1) - 1)));
}

/** Introduces every node to every other one, because gossip alone would take seconds. */
async function introduce(members: readonly Member[]): Promise<void> {
  const meetings = members.flatMap(({ client }, i) =>
    members.slice(i + 1).map(({ server, busPort }) => client.cluster('MEET', server.host, server.port, busPort)),
  );
  await Promise.all(meetings);
  const knowsAll = async (client: Redis): Promise<boolean> => {
    const nodes = String(await client.cluster('NODES'));
    return members.every(({ id }) => nodes.includes(id)) && !nodes.includes('handshake');
  };
  await untilAll(members, knowsAll, 'all nodes know each other');
}

async function isComplete(client: Redis): Promise<boolean> {
  return (await client.cluster('INFO')).includes('cluster_state:ok');
}

async function untilAll(
  members: readonly Member[],
  reached: (client: Redis) => Promise<boolean>,
  what: string,
): Promise<void> {
  await Promise.all(members.map(({ client, server }) => until(() => reached(client), `${what} (${server.url})`)));
}

/** @returns the id of the owner. A node that was down may still report an older owner, with an older epoch. */
async function findOwner(slot: number, nodes: readonly RedisServer[]): Promise<string> {
  const views = await Promise.all(nodes.map(readNodes));
  const claims = views.flatMap((view) => parseClaims(view)).filter(({ slots }) => owns(slots, slot));
  if (claims.length === 0) throw new Error(`no running node has an owner for slot ${slot}`);
  return claims.reduce((newest, claim) => (claim.epoch > newest.epoch ? claim : newest)).id;
}

/** Resolves with the reply to CLUSTER NODES, or an empty string if the node does not answer. */
async function readNodes(node: RedisServer): Promise<string> {
  return await withClient(node, async (client) => String(await client.cluster('NODES'))).catch(() => '');
}

interface Claim {
  readonly id: string;
  readonly epoch: number;
  /** "0-99", "200", and "[7->-id]" for a slot that is moving. */
  readonly slots: readonly string[];
}

function parseClaims(view: string): Claim[] {
  return view
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [id, , , , , , epoch, , ...slots] = line.split(' ');
      return { id: id!, epoch: Number(epoch), slots };
    });
}

function owns(slots: readonly string[], slot: number): boolean {
  return slots.some((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return first! <= slot && slot <= last!;
  });
}

/**
 * Waits until all nodes that answer have the same owners and epochs. A move gives its target an epoch above all that the
 * target has seen. If it has not seen the newest one, two nodes have the same epoch and one of them loses the slot again.
 */
async function untilAgreed(nodes: readonly RedisServer[]): Promise<void> {
  const agreed = async (): Promise<boolean> => {
    const views = (await Promise.all(nodes.map(readNodes))).filter((view) => view !== '');
    const described = views.map((view) => parseClaims(view).map(describeClaim));
    return new Set(described.map((claims) => claims.sort().join('\n'))).size === 1;
  };
  await until(agreed, 'all nodes have the same owners of slots');
}

/** Leaves out moving slots, which only their two nodes have. */
function describeClaim({ id, epoch, slots }: Claim): string {
  return `${id} ${epoch} ${slots.filter((range) => !range.startsWith('[')).join()}`;
}

/** Follows the order of the Redis documentation: the slot always has exactly one owner. */
async function moveSlot(
  slot: number,
  from: { server: RedisServer; id: string },
  to: { server: RedisServer; id: string },
): Promise<void> {
  const [source, target] = [from.server.client(), to.server.client()];
  const { host, port } = to.server;
  try {
    await target.cluster('SETSLOT', slot, 'IMPORTING', from.id);
    await source.cluster('SETSLOT', slot, 'MIGRATING', to.id);
    for (;;) {
      const keys = await source.cluster('GETKEYSINSLOT', slot, KEYS_PER_STEP);
      if (keys.length === 0) break;
      await source.migrate(host, port, '', 0, MIGRATE_MS, 'KEYS', ...keys);
    }
    await target.cluster('SETSLOT', slot, 'NODE', to.id);
    await source.cluster('SETSLOT', slot, 'NODE', to.id);
  } finally {
    source.disconnect();
    target.disconnect();
  }
}
