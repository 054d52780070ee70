import { afterAll, describe, expect, it } from '@jest/globals';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { closeConnections, GET, succeeds, increment, INCR, open, makeScript } from './connections-support.js';

afterAll(async () => {
  await closeConnections();
  await stopRedis();
});

describe('one server', () => {
  it('runs scripts, and gives them the run id of the server', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    const runId = /run_id:(\w+)/.exec(await server.client().info('server'))![1];
    expect(await connections.write(INCR, ['tc:{1}'], [])).toEqual([1, runId]);
    expect(await connections.query(GET, ['tc:{1}'], [])).toBe('1');
    expect(connections.available).toBe(true);
  });

  it('runs a script once when the server does not know it any more', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    for (let times = 1; times <= 3; times++) {
      await server.client().script('FLUSH');
      expect(await increment(connections, 'tc:{1}')).toBe(times);
    }
  });

  it('refuses what the script refuses, and goes on', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    const failing = makeScript("return redis.error_reply('NO of ours')");
    await expect(connections.write(failing, ['tc:{1}'], [])).rejects.toThrow('NO of ours');
    expect(await increment(connections, 'tc:{1}')).toBe(1);
  });

  it('rejects while the server is away, and tells of its return', async () => {
    const server = await startRedis();
    const { connections, warnings, reconnections } = await open(server.url);
    await increment(connections, 'tc:{1}');
    await server.kill('SIGKILL');
    await until(() => !connections.available, 'is seen to be away');
    await expect(increment(connections, 'tc:{1}')).rejects.toThrow(/not connected/);
    await server.restart();
    await until(() => reconnections() > 0, 'is told of');
    await until(() => succeeds(connections.query(GET, ['tc:{1}'], [])), 'answers queries');
    expect(await increment(connections, 'tc:{1}')).toBe(1);
    await until(() => connections.available, 'is available');
    expect(reconnections()).toBe(1);
    expect(warnings.slice(1)).toEqual([
      expect.stringContaining('connection lost'),
      expect.stringContaining(': connected'),
    ]);
  });

  it('leaves a server that hangs, rejects in the meantime, and comes back to it', async () => {
    const server = await startRedis();
    const { connections, reconnections } = await open(server.url);
    await server.kill('SIGSTOP');
    const calls = Array.from({ length: 50 }, () => increment(connections, 'tc:{1}'));
    for (const call of calls) await expect(call).rejects.toThrow();
    await until(() => !connections.available, 'is seen to hang');
    await server.kill('SIGCONT');
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'answers again');
    await until(() => connections.available, 'is available');
    expect(reconnections()).toBeGreaterThan(0);
  });

  it('finds without traffic that a server hangs', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    await server.kill('SIGSTOP');
    await until(() => !connections.available, 'is seen to hang');
    await server.kill('SIGCONT');
    await until(() => connections.available, 'is seen to be back');
  });

  it('takes no more than 10,000 calls at a time', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    await server.kill('SIGSTOP');
    const calls = Promise.allSettled(Array.from({ length: 10_000 }, () => connections.query(GET, ['tc:{1}'], [])));
    await expect(connections.query(GET, ['tc:{1}'], [])).rejects.toThrow('does not keep up');
    expect((await calls).every(({ status }) => status === 'rejected')).toBe(true);
    await server.kill('SIGCONT');
    await until(() => succeeds(connections.query(GET, ['tc:{1}'], [])), 'answers again');
  });

  it('rejects what is in flight when it is closed', async () => {
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
  it('bring messages, and are made again after the server was away', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    const { pubSub } = connections;
    const confirmed: string[] = [];
    const heard: string[] = [];
    pubSub.subscribed.subscribe((names) => confirmed.push(...names));
    const names = ['tc:{1}:a', 'tc:{2}:b', 'tc:{3}:c'];
    for (const channel of names) pubSub.subscribe(channel, (message) => heard.push(`${channel} ${message.toString()}`));
    pubSub.unsubscribe('tc:{3}:c');
    await until(() => confirmed.length === 2, 'are confirmed');
    for (const channel of names) await server.client().spublish(channel, '1');
    await until(() => heard.length === 2, 'are heard');

    await server.kill('SIGKILL');
    await server.restart();
    await until(() => confirmed.length === 4, 'are confirmed again');
    for (const channel of names) await server.client().spublish(channel, '2');
    await until(() => heard.length === 4, 'are heard again');
    expect(heard.sort()).toEqual(['tc:{1}:a 1', 'tc:{1}:a 2', 'tc:{2}:b 1', 'tc:{2}:b 2']);
  });

  it('end when nobody wants them', async () => {
    const server = await startRedis();
    const { connections } = await open(server.url);
    const client = server.client();
    connections.pubSub.subscribe('tc:{1}:a', () => undefined);
    const subscribed = async () => (await client.call('PUBSUB', 'SHARDCHANNELS')) as string[];
    await until(async () => (await subscribed()).length === 1, 'is subscribed');
    connections.pubSub.unsubscribe('tc:{1}:a');
    await until(async () => (await subscribed()).length === 0, 'is unsubscribed');
  });
});
