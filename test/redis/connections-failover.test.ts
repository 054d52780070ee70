import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { patientClock } from '../support/patient-clock.js';
import { startSentinels } from '../support/redis-sentinel.js';
import { startRedis, startReplica, stopRedis } from '../support/redis-server.js';
import { startProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { closeConnections, GET, succeeds, increment, open } from './connections-support.js';

afterEach(closeConnections);
afterAll(stopRedis);

describe('replicated writes', () => {
  it('are confirmed when a replica has them', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const { connections } = await open(primary.url, { replicated: true });
    // A new replica may take a second to say for the first time what it has.
    await until(() => succeeds(increment(connections, 'tc:{first}')), 'is confirmed');
    const client = replica.client();
    const keys = Array.from({ length: 20 }, (_, i) => `tc:{${i}}`);
    let confirmed = 0;
    for (let round = 1; round <= 20; round++) {
      const sums = await Promise.allSettled(keys.map((key) => increment(connections, key)));
      const values = await client.mget(keys);
      // A replica that a busy machine keeps waiting for longer than WAIT does confirms nothing.
      for (const [i, sum] of sums.entries()) {
        if (sum.status === 'rejected') continue;
        expect(values[i]).toBe(String(sum.value));
        confirmed += 1;
      }
    }
    expect(confirmed).toBeGreaterThan(0);
  });

  it('are rejected while the replica hangs, and confirmed when it goes on; queries do not wait', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const { connections, reconnections } = await open(primary.url, { replicated: true, clock: patientClock });
    await until(() => succeeds(increment(connections, 'tc:{first}')), 'is confirmed');
    await replica.kill('SIGSTOP');
    const writes = Promise.allSettled(Array.from({ length: 20 }, () => increment(connections, 'tc:{1}')));
    expect(await connections.query(GET, ['tc:{1}'], [])).toBe('20');
    for (const write of await writes)
      expect(String(write.status === 'rejected' && write.reason)).toContain('no replica confirmed');
    expect(connections.available).toBe(false);
    await replica.kill('SIGCONT');
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'is confirmed again');
    await until(() => connections.available, 'is available');
    expect(reconnections()).toBe(0);
  });

  it('are rejected when the connection is lost before they are confirmed', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const proxy = await startProxy(primary);
    const { connections } = await open(`redis://127.0.0.1:${proxy.port}`, { replicated: true });
    await until(() => succeeds(increment(connections, 'tc:{first}')), 'is confirmed');
    await replica.kill('SIGSTOP');
    const write = expect(increment(connections, 'tc:{1}')).rejects.toThrow();
    const client = primary.client();
    await until(async () => (await client.get('tc:{1}')) === '1', 'is done at the primary');
    proxy.cut();
    await write;
    await replica.kill('SIGCONT');
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'is confirmed again');
    await closeConnections();
    await proxy.close();
  });
});

describe('sentinels', () => {
  it('lead to the replica that was promoted', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const { url } = await startSentinels(primary);
    const { connections, reconnections } = await open(url, { replicated: true, clock: patientClock });
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'is confirmed');
    const confirmed = await connections.query(GET, ['tc:{1}'], []);
    const heard: string[] = [];
    connections.pubSub.subscribe('tc:{1}:a', (message) => heard.push(message.toString()));
    await primary.kill('SIGKILL');
    await expect(increment(connections, 'tc:{1}')).rejects.toThrow();
    await until(() => reconnections() > 0, 'is told that another server is there');
    const value = (): Promise<unknown> => connections.query(GET, ['tc:{1}'], []).catch(() => null);
    await until(async () => (await value()) === confirmed, 'is what it was');
    const client = replica.client();
    await until(async () => Number(await client.spublish('tc:{1}:a', 'new')) > 0, 'is subscribed to');
    await until(() => heard.length > 0, 'is heard');
    expect(heard[0]).toBe('new');
    // There is no replica any more.
    await expect(increment(connections, 'tc:{1}')).rejects.toThrow('no replica confirmed');
    await primary.restart();
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'is confirmed by the old primary, now a replica');
    await until(() => connections.available, 'is available');
  });

  it('tell of a new primary while the old one still answers us', async () => {
    const primary = await startRedis();
    // As if cut off from the others: the sentinels reach it only through the proxy, we do directly.
    const proxy = await startProxy(primary);
    const replica = await startReplica(primary);
    const seen = { ...primary, host: '127.0.0.1', port: proxy.port, client: () => primary.client() };
    const sentinels = await startSentinels(seen);
    const { connections, reconnections } = await open(sentinels.url);
    await until(() => connections.available, 'is available');
    await increment(connections, 'tc:{1}');
    proxy.stall();
    await until(async () => (await sentinels.readPrimary()).port === replica.port, 'is elected');
    await until(() => reconnections() > 0, 'is told of');
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'takes writes');
    expect(await replica.client().get('tc:{1}')).toBe('2');
    await closeConnections();
    await proxy.close();
  });
});
