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

/** Writes to the keys in turn, until `stop` is called; returns how many writes of each went through. */
function writing(write: (key: string) => Promise<unknown>, keys: readonly string[]) {
  let stopped = false;
  const done = new Map(keys.map((key) => [key, { confirmed: 0, rejected: 0 }]));
  const loops = keys.map(async (key) => {
    while (!stopped) {
      const counts = done.get(key)!;
      if (await succeeds(write(key))) counts.confirmed += 1;
      else counts.rejected += 1;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  });
  return async () => {
    stopped = true;
    await Promise.all(loops);
    return done;
  };
}

describe('a cluster', () => {
  it.each(['', 'a', '42', 'tc:{61}:f', '{}', 'x{}y{z}', 'a{b', 'a}b{c}', 'ä{ö}', '{{x}}'])(
    'has the key %j in the slot that we think',
    async (key) => {
      expect(hashSlot(key)).toBe(await cluster.nodes[0]!.client().cluster('KEYSLOT', key));
    },
  );

  it('runs scripts where their keys are, with that server’s run id', async () => {
    const { connections } = await open(cluster.url);
    for (const key of KEYS) {
      const [sum, runId] = (await connections.write(INCR, [key], [])) as [number, string];
      expect(sum).toBe(1);
      const owner = await cluster.findPrimary(hashSlot(key));
      expect(await owner.client().info('server')).toContain(`run_id:${runId}`);
      expect(await connections.query(GET, [key], [])).toBe('1');
    }
  });

  it('asks for no more rights than the check says', async () => {
    const rights =
      '~tc:* &tc:* +ping +info +eval +evalsha +ssubscribe +sunsubscribe +spublish +cluster|slots +asking +get +incr';
    for (const node of cluster.nodes) await node.client().acl('SETUSER', 'ann', 'on', '>s3cret', ...rights.split(' '));
    const { connections } = await open(cluster.url.replace('://', '://ann:s3cret@'));
    for (const key of KEYS) expect(await increment(connections, `${key}:rights`)).toBe(1);
    const heard = new Set<string>();
    for (const key of KEYS) connections.pubSub.subscribe(`${key}:rights`, () => heard.add(key));
    await until(async () => {
      for (const key of KEYS) await connections.pubSub.publish(`${key}:rights`, '1');
      return heard.size === KEYS.length;
    }, 'are heard');
  });

  it('counts each write once while slots move under them', async () => {
    const { connections, reconnections } = await open(cluster.url, { clock: patientClock });
    const keys = KEYS.slice(0, 8).map((key) => `${key}:moving`);
    const client = cluster.client();
    // So many that a slot is on its way for a while.
    for (const key of keys) for (let i = 0; i < 200; i++) await client.set(`${key}:${i}`, 'x');
    const heard = new Set<string>();
    for (const key of keys) connections.pubSub.subscribe(`${key}:channel`, () => heard.add(key));
    const stop = writing((key) => increment(connections, key), keys);
    for (const key of keys) {
      const from = await cluster.findPrimary(hashSlot(key));
      const others = cluster.nodes.slice(0, 3).filter((node) => node !== from);
      await cluster.moveSlot(hashSlot(key), others[0]!);
    }
    const done = await stop();
    for (const key of keys) {
      const { confirmed: sum } = done.get(key)!;
      expect(sum).toBeGreaterThan(0);
      // Redirections and refusals are no executions; nothing was lost that could have been done twice.
      expect(await connections.query(GET, [key], [])).toBe(String(sum));
    }
    await until(() => reconnections() > 0, 'is told of new servers');
    const publisher = cluster.client();
    await until(async () => {
      for (const key of keys) await publisher.spublish(`${key}:channel`, '1');
      return heard.size === keys.length;
    }, 'is subscribed where the slots are now');
  });

  it('goes on with the replica of a primary that is gone', async () => {
    const { connections, reconnections } = await open(cluster.url, { replicated: true });
    const key = 'tc:{0}:failover';
    await until(() => succeeds(increment(connections, key)), 'is confirmed');
    const heard: string[] = [];
    connections.pubSub.subscribe(`${key}:a`, (message) => heard.push(message.toString()));
    const primary = await cluster.findPrimary(hashSlot(key));
    await primary.kill('SIGKILL');
    await expect(increment(connections, key)).rejects.toThrow();
    expect(connections.available).toBe(false);
    await until(() => reconnections() > 0, 'is told of a new server');
    await until(async () => Number(await connections.query(GET, [key], []).catch(() => 0)) > 0, 'is what it was');
    const client = cluster.client();
    await until(async () => {
      await client.spublish(`${key}:a`, 'new').catch(() => 0);
      return heard.length > 0;
    }, 'is subscribed to');
    await primary.restart();
    await until(() => succeeds(increment(connections, key)), 'is confirmed by the old primary, now a replica');
    await until(() => connections.available, 'is whole again');
  });
});
