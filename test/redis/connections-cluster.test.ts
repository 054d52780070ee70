import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { hashSlot } from '../../src/store/redis/client/hash-slot.js';
import { patientClock } from '../support/patient-clock.js';
import { type RedisCluster, startCluster } from '../support/redis-cluster.js';
import { stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { closeConnections, GET, succeeds, increment, INCR, open } from './connections-support.js';

let cluster: RedisCluster;

beforeAll(async () => {
  cluster = await startCluster({ nodeTimeoutMs: 1_000 });
});
afterEach(closeConnections);
afterAll(stopRedis);

const KEYS = Array.from({ length: 50 }, (_, i) => `tc:{${i}}`);

/** Writes to all keys until the returned function is called, which resolves with the number of writes by key. */
function startWriting(write: (key: string) => Promise<unknown>, keys: readonly string[]) {
  let stopped = false;
  const writes = new Map(keys.map((key) => [key, { succeeded: 0, rejected: 0 }]));
  const loops = keys.map(async (key) => {
    while (!stopped) {
      const counts = writes.get(key)!;
      if (await succeeds(write(key))) counts.succeeded += 1;
      else counts.rejected += 1;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  });
  return async () => {
    stopped = true;
    await Promise.all(loops);
    return writes;
  };
}

describe('a Redis client of a cluster', () => {
  it.each(['', 'a', '42', 'tc:{61}:f', '{}', 'x{}y{z}', 'a{b', 'a}b{c}', 'ä{ö}', '{{x}}'])(
    'hashSlot computes the slot that the cluster computes of the key %j',
    async (key) => {
      expect(hashSlot(key)).toBe(await cluster.nodes[0]!.client().cluster('KEYSLOT', key));
    },
  );

  it('the Redis client runs scripts where their keys are, with the run id of that server', async () => {
    const { connections } = await open(cluster.url);
    for (const key of KEYS) {
      const [sum, runId] = (await connections.write(INCR, [key], [])) as [number, string];
      expect(sum).toBe(1);
      const owner = await cluster.findPrimary(hashSlot(key));
      expect(await owner.client().info('server')).toContain(`run_id:${runId}`);
      expect(await connections.query(GET, [key], [])).toBe('1');
    }
  });

  it('the Redis client needs only the rights that the check at boot names', async () => {
    const rights =
      '~tc:* &tc:* +ping +info +eval +evalsha +ssubscribe +sunsubscribe +spublish +cluster|slots +asking +get +incr';
    for (const node of cluster.nodes) await node.client().acl('SETUSER', 'ann', 'on', '>s3cret', ...rights.split(' '));
    const { connections } = await open(cluster.url.replace('://', '://ann:s3cret@'));
    for (const key of KEYS) expect(await increment(connections, `${key}:rights`)).toBe(1);
    const received = new Set<string>();
    for (const key of KEYS) connections.pubSub.subscribe(`${key}:rights`, () => received.add(key));
    await until(async () => {
      for (const key of KEYS) await connections.pubSub.publish(`${key}:rights`, '1');
      return received.size === KEYS.length;
    }, 'every channel received a message');
  });

  it('each write is executed once while the slots of its keys move', async () => {
    const { connections, reconnections } = await open(cluster.url, { clock: patientClock });
    const keys = KEYS.slice(0, 8).map((key) => `${key}:moving`);
    const client = cluster.client();
    // With this many keys the move of a slot takes a while.
    for (const key of keys) for (let i = 0; i < 200; i++) await client.set(`${key}:${i}`, 'x');
    const received = new Set<string>();
    for (const key of keys) connections.pubSub.subscribe(`${key}:channel`, () => received.add(key));
    const stop = startWriting((key) => increment(connections, key), keys);
    for (const key of keys) {
      const from = await cluster.findPrimary(hashSlot(key));
      const others = cluster.nodes.slice(0, 3).filter((node) => node !== from);
      await cluster.moveSlot(hashSlot(key), others[0]!);
    }
    const writes = await stop();
    for (const key of keys) {
      const { succeeded: sum } = writes.get(key)!;
      expect(sum).toBeGreaterThan(0);
      // Redirected and rejected commands are not executed, so no retry executes a command twice.
      expect(await connections.query(GET, [key], [])).toBe(String(sum));
    }
    await until(() => reconnections() > 0, 'the client has reconnected');
    const publisher = cluster.client();
    await until(async () => {
      for (const key of keys) await publisher.spublish(`${key}:channel`, '1');
      return received.size === keys.length;
    }, 'the subscriptions follow the slots');
  });

  it('the Redis client continues with the replica of a killed primary', async () => {
    const { connections, reconnections } = await open(cluster.url, { replicated: true });
    const key = 'tc:{0}:failover';
    await until(() => succeeds(increment(connections, key)), 'a write is replicated');
    const received: string[] = [];
    connections.pubSub.subscribe(`${key}:a`, (message) => received.push(message.toString()));
    const primary = await cluster.findPrimary(hashSlot(key));
    await primary.kill('SIGKILL');
    await expect(increment(connections, key)).rejects.toThrow();
    expect(connections.available).toBe(false);
    await until(() => reconnections() > 0, 'the client has reconnected');
    await until(
      async () => Number(await connections.query(GET, [key], []).catch(() => 0)) > 0,
      'the new primary has the value',
    );
    const client = cluster.client();
    await until(async () => {
      await client.spublish(`${key}:a`, 'new').catch(() => 0);
      return received.length > 0;
    }, 'the subscription is renewed');
    await primary.restart();
    await until(() => succeeds(increment(connections, key)), 'the old primary, now a replica, confirms a write');
    await until(() => connections.available, 'the client is available');
  });
});
