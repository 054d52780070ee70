import { afterAll, describe, expect, it } from '@jest/globals';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { closeConnections, GET, succeeds, increment, INCR, open, makeScript } from './connections-support.js';

afterAll(async () => {
  await closeConnections();
  await stopRedis();
});

describe('a Redis client of one server', () => {
  it('the Redis client runs scripts and passes them the run id of the server', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    const runId = /run_id:(\w+)/.exec(await server.client().info('server'))![1];
    expect(await connections.write(INCR, ['tc:{1}'], [])).toEqual([1, runId]);
    expect(await connections.query(GET, ['tc:{1}'], [])).toBe('1');
    expect(connections.available).toBe(true);
  });

  it('the Redis client runs a script once when the server has flushed its scripts', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    for (let times = 1; times <= 3; times++) {
      await server.client().script('FLUSH');
      expect(await increment(connections, 'tc:{1}')).toBe(times);
    }
  });

  it('an error of a script rejects its call, and the next call succeeds', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    const failing = makeScript("return redis.error_reply('NO by the script')");
    await expect(connections.write(failing, ['tc:{1}'], [])).rejects.toThrow('NO by the script');
    expect(await increment(connections, 'tc:{1}')).toBe(1);
  });

  it('the Redis client rejects calls while the server is down, and emits when it has reconnected', async () => {
    const server = await startRedis();
    const { connections, warnings, reconnections } = await open(server.url);
    await increment(connections, 'tc:{1}');
    await server.kill('SIGKILL');
    await until(() => !connections.available, 'the client is unavailable');
    await expect(increment(connections, 'tc:{1}')).rejects.toThrow(/not connected/);
    await server.restart();
    await until(() => reconnections() > 0, 'the client has reconnected');
    await until(() => succeeds(connections.query(GET, ['tc:{1}'], [])), 'queries succeed');
    expect(await increment(connections, 'tc:{1}')).toBe(1);
    await until(() => connections.available, 'the client is available');
    expect(reconnections()).toBe(1);
    expect(warnings.slice(1)).toEqual([
      expect.stringContaining('connection lost'),
      expect.stringContaining(': connected'),
    ]);
  });

  it('the Redis client rejects calls while the server hangs, and reconnects afterwards', async () => {
    const server = await startRedis();
    const { connections, reconnections } = await open(server.url);
    await server.kill('SIGSTOP');
    const calls = Array.from({ length: 50 }, () => increment(connections, 'tc:{1}'));
    for (const call of calls) await expect(call).rejects.toThrow();
    await until(() => !connections.available, 'the client is unavailable');
    await server.kill('SIGCONT');
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'calls succeed again');
    await until(() => connections.available, 'the client is available');
    expect(reconnections()).toBeGreaterThan(0);
  });

  it('the Redis client detects a hanging server without traffic', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    await server.kill('SIGSTOP');
    await until(() => !connections.available, 'the client is unavailable');
    await server.kill('SIGCONT');
    await until(() => connections.available, 'the client is available');
  });

  it('the Redis client accepts at most 10,000 calls at a time', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    await server.kill('SIGSTOP');
    const calls = Promise.allSettled(Array.from({ length: 10_000 }, () => connections.query(GET, ['tc:{1}'], [])));
    await expect(connections.query(GET, ['tc:{1}'], [])).rejects.toThrow('does not keep up');
    expect((await calls).every(({ status }) => status === 'rejected')).toBe(true);
    await server.kill('SIGCONT');
    await until(() => succeeds(connections.query(GET, ['tc:{1}'], [])), 'calls succeed again');
  });

  it('the Redis client rejects the calls in flight when it is closed', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    await server.kill('SIGSTOP');
    const call = expect(increment(connections, 'tc:{1}')).rejects.toThrow();
    await connections.close();
    await call;
    await expect(increment(connections, 'tc:{1}')).rejects.toThrow();
    await server.kill('SIGCONT');
  });
});

describe('subscriptions', () => {
  it('subscriptions receive messages, and are renewed after a restart of the server', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    const { pubSub } = connections;
    const subscribed: string[] = [];
    const received: string[] = [];
    pubSub.subscribed.subscribe((channels) => subscribed.push(...channels));
    const channels = ['tc:{1}:a', 'tc:{2}:b', 'tc:{3}:c'];
    for (const channel of channels)
      pubSub.subscribe(channel, (message) => received.push(`${channel} ${message.toString()}`));
    pubSub.unsubscribe('tc:{3}:c');
    await until(() => subscribed.length === 2, 'the server confirmed the subscriptions');
    for (const channel of channels) await server.client().spublish(channel, '1');
    await until(() => received.length === 2, 'the messages are received');

    await server.kill('SIGKILL');
    await server.restart();
    await until(() => subscribed.length === 4, 'the server confirmed the subscriptions again');
    for (const channel of channels) await server.client().spublish(channel, '2');
    await until(() => received.length === 4, 'the messages are received again');
    expect(received.sort()).toEqual(['tc:{1}:a 1', 'tc:{1}:a 2', 'tc:{2}:b 1', 'tc:{2}:b 2']);
  });

  it('an unsubscription ends the subscription at the server', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    const client = server.client();
    connections.pubSub.subscribe('tc:{1}:a', () => undefined);
    const readChannels = async () => (await client.call('PUBSUB', 'SHARDCHANNELS')) as string[];
    await until(async () => (await readChannels()).length === 1, 'the server has the subscription');
    connections.pubSub.unsubscribe('tc:{1}:a');
    await until(async () => (await readChannels()).length === 0, 'the server has no subscription');
  });
});
