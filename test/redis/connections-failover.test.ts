import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { patientClock } from '../support/patient-clock.js';
import { startSentinels } from '../support/redis-sentinel.js';
import { startRedis, startReplica, stopRedis } from '../support/redis-server.js';
import { startProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { closeConnections, GET, succeeds, increment, open } from './connections-support.js';

afterEach(closeConnections);
afterAll(stopRedis);

describe('a Redis client with replicated writes', () => {
  it('replicated writes resolve when a replica has them', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const { connections } = await open(primary.url, { replicated: true });
    // A new replica may take a second to acknowledge its first offset.
    await until(() => succeeds(increment(connections, 'tc:{first}')), 'a write is replicated');
    const client = replica.client();
    const keys = Array.from({ length: 20 }, (_, i) => `tc:{${i}}`);
    let replicated = 0;
    for (let round = 1; round <= 20; round++) {
      const sums = await Promise.allSettled(keys.map((key) => increment(connections, key)));
      const values = await client.mget(keys);
      // On a busy machine a replica may not acknowledge before WAIT times out.
      for (const [i, sum] of sums.entries()) {
        if (sum.status === 'rejected') continue;
        expect(values[i]).toBe(String(sum.value));
        replicated += 1;
      }
    }
    expect(replicated).toBeGreaterThan(0);
  });

  it('replicated writes are rejected while the replica hangs and resolve afterwards; queries do not wait', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const { connections, reconnections } = await open(primary.url, { replicated: true, clock: patientClock });
    await until(() => succeeds(increment(connections, 'tc:{first}')), 'a write is replicated');
    await replica.kill('SIGSTOP');
    const writes = Promise.allSettled(Array.from({ length: 20 }, () => increment(connections, 'tc:{1}')));
    expect(await connections.query(GET, ['tc:{1}'], [])).toBe('20');
    for (const write of await writes)
      expect(String(write.status === 'rejected' && write.reason)).toContain('no replica confirmed');
    expect(connections.available).toBe(false);
    await replica.kill('SIGCONT');
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'a write is replicated again');
    await until(() => connections.available, 'the client is available');
    expect(reconnections()).toBe(0);
  });

  it('replicated writes are rejected when the connection is lost before a replica has them', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const proxy = await startProxy(primary);
    const { connections } = await open(`redis://127.0.0.1:${proxy.port}`, { replicated: true });
    await until(() => succeeds(increment(connections, 'tc:{first}')), 'a write is replicated');
    await replica.kill('SIGSTOP');
    const write = expect(increment(connections, 'tc:{1}')).rejects.toThrow();
    const client = primary.client();
    await until(async () => (await client.get('tc:{1}')) === '1', 'the primary has run the command');
    proxy.cut();
    await write;
    await replica.kill('SIGCONT');
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'a write is replicated again');
    await closeConnections();
    await proxy.close();
  });
});

describe('a Redis client of sentinels', () => {
  it('a Redis client of sentinels connects to the promoted replica', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const { url } = await startSentinels(primary);
    const { connections, reconnections } = await open(url, { replicated: true, clock: patientClock });
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'a write is replicated');
    const replicated = await connections.query(GET, ['tc:{1}'], []);
    const received: string[] = [];
    connections.pubSub.subscribe('tc:{1}:a', (message) => received.push(message.toString()));
    await primary.kill('SIGKILL');
    await expect(increment(connections, 'tc:{1}')).rejects.toThrow();
    await until(() => reconnections() > 0, 'the client has reconnected');
    const value = (): Promise<unknown> => connections.query(GET, ['tc:{1}'], []).catch(() => null);
    await until(async () => (await value()) === replicated, 'the new primary has the value');
    const client = replica.client();
    await until(async () => Number(await client.spublish('tc:{1}:a', 'new')) > 0, 'the subscription is renewed');
    await until(() => received.length > 0, 'the message is received');
    expect(received[0]).toBe('new');
    // There is no replica any more.
    await expect(increment(connections, 'tc:{1}')).rejects.toThrow('no replica confirmed');
    await primary.restart();
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'the old primary, now a replica, confirms a write');
    await until(() => connections.available, 'the client is available');
  });

  it('a Redis client of sentinels follows them to a new primary while the old one still responds', async () => {
    const primary = await startRedis();
    // The sentinels reach the primary through the proxy only, the client directly: a partition between the two.
    const proxy = await startProxy(primary);
    const replica = await startReplica(primary);
    const proxied = { ...primary, host: '127.0.0.1', port: proxy.port, client: () => primary.client() };
    const sentinels = await startSentinels(proxied);
    const { connections, reconnections } = await open(sentinels.url);
    await until(() => connections.available, 'the client is available');
    await increment(connections, 'tc:{1}');
    proxy.stall();
    await until(async () => (await sentinels.readPrimary()).port === replica.port, 'the replica is elected');
    await until(() => reconnections() > 0, 'the client has reconnected');
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'writes succeed');
    expect(await replica.client().get('tc:{1}')).toBe('2');
    await closeConnections();
    await proxy.close();
  });
});
