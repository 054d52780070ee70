import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { closeWithRedis, startRedis, startReplica, stopRedis } from '../support/redis-server.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

afterAll(stopRedis);

describe('a test server of Redis', () => {
  it('a server is empty after a kill and a restart on its port', async () => {
    const server = await startRedis();
    await server.client().set('likes', 1);
    const { pid } = server;
    await server.kill('SIGKILL');
    await expect(server.client().get('likes')).rejects.toThrow();
    await server.restart();
    expect(server.pid).not.toBe(pid);
    expect(await server.client().get('likes')).toBeNull();
  });

  it('a server that fsyncs its log has its data after a kill', async () => {
    const server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    await server.client().set('likes', 1);
    await server.kill('SIGKILL');
    await server.restart();
    expect(await server.client().get('likes')).toBe('1');
  });

  it('a replica receives the writes of its primary', async () => {
    const primary = await startRedis();
    await primary.client().set('likes', 1);
    const replica = await startReplica(primary);
    expect(await replica.client().get('likes')).toBe('1');
    const client = primary.client();
    await client.incr('likes');
    expect(await client.wait(1, 10_000)).toBe(1);
    expect(await replica.client().get('likes')).toBe('2');
  });
});

describe('a proxy in front of Redis', () => {
  const proxies: TcpProxy[] = [];

  afterEach(async () => {
    await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
  });

  const startProxyTo = async (server: { port: number }): Promise<TcpProxy> => {
    const proxy = await startProxy(server);
    proxies.push(proxy);
    return proxy;
  };

  const openClient = (proxy: TcpProxy): Redis =>
    closeWithRedis(new Redis({ host: '127.0.0.1', port: proxy.port, retryStrategy: () => null }));

  it('a dropped reply ends the connection after the command has run', async () => {
    const server = await startRedis();
    const proxy = await startProxyTo(server);
    const client = openClient(proxy);
    expect(await client.incr('likes')).toBe(1);
    proxy.onReply = () => 'drop';
    await expect(client.incr('likes')).rejects.toThrow();
    expect(await server.client().get('likes')).toBe('2');
    await until(() => proxy.connections === 0, 'the connection is closed');
  });

  it('a stalled proxy delays requests until it resumes', async () => {
    const server = await startRedis();
    const proxy = await startProxyTo(server);
    const client = openClient(proxy);
    await client.ping();
    proxy.stall();
    const delayed = [client.incr('likes'), openClient(proxy).incr('likes')];
    await until(() => proxy.connections === 2, 'the second connection is accepted');
    expect(await server.client().get('likes')).toBeNull();
    proxy.resume();
    expect((await Promise.all(delayed)).sort()).toEqual([1, 2]);
  });

  it('a proxy that rejects connections looks like a server that is down, until it accepts again', async () => {
    const proxy = await startProxyTo(await startRedis());
    const client = openClient(proxy);
    await client.ping();
    proxy.refuse();
    await expect(client.ping()).rejects.toThrow();
    await expect(openClient(proxy).ping()).rejects.toThrow();
    proxy.accept();
    expect(await openClient(proxy).ping()).toBe('PONG');
  });

  it('large replies reach a slow reader complete', async () => {
    const server = await startRedis();
    const bytes = 20_000_000;
    await server.client().call('SETRANGE', 'large', bytes - 1, 'x');
    const client = openClient(await startProxyTo(server));
    const replies = await Promise.all([client.getBuffer('large'), client.getBuffer('large')]);
    expect(replies.map((reply) => reply?.length)).toEqual([bytes, bytes]);
  });
});
