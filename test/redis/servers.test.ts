import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { closeWithRedis, startRedis, startReplica, stopRedis } from '../support/redis-server.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

afterAll(stopRedis);

describe('one Redis', () => {
  it('is empty after a kill and a restart on its port', async () => {
    const server = await startRedis();
    await server.client().set('likes', 1);
    const { pid } = server;
    await server.kill('SIGKILL');
    await expect(server.client().get('likes')).rejects.toThrow();
    await server.restart();
    expect(server.pid).not.toBe(pid);
    expect(await server.client().get('likes')).toBeNull();
  });

  it('has what it had before a kill if it syncs its log', async () => {
    const server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    await server.client().set('likes', 1);
    await server.kill('SIGKILL');
    await server.restart();
    expect(await server.client().get('likes')).toBe('1');
  });

  it('has a replica that is sent what it is told', async () => {
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

describe('a proxy before Redis', () => {
  const proxies: TcpProxy[] = [];

  afterEach(async () => {
    await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
  });

  const proxyBefore = async (server: { port: number }): Promise<TcpProxy> => {
    const proxy = await startProxy(server);
    proxies.push(proxy);
    return proxy;
  };

  const clientOf = (proxy: TcpProxy): Redis =>
    closeWithRedis(new Redis({ host: '127.0.0.1', port: proxy.port, retryStrategy: () => null }));

  it('that drops a reply ends the connection after the command was done', async () => {
    const server = await startRedis();
    const proxy = await proxyBefore(server);
    const client = clientOf(proxy);
    expect(await client.incr('likes')).toBe(1);
    proxy.onReply = () => 'drop';
    await expect(client.incr('likes')).rejects.toThrow();
    expect(await server.client().get('likes')).toBe('2');
    await until(() => proxy.connections === 0, 'the connection is gone');
  });

  it('that stalls holds requests back until it resumes', async () => {
    const server = await startRedis();
    const proxy = await proxyBefore(server);
    const client = clientOf(proxy);
    await client.ping();
    proxy.stall();
    const held = [client.incr('likes'), clientOf(proxy).incr('likes')];
    await until(() => proxy.connections === 2, 'the second one is accepted');
    expect(await server.client().get('likes')).toBeNull();
    proxy.resume();
    expect((await Promise.all(held)).sort()).toEqual([1, 2]);
  });

  it('that refuses is like a server that is gone, until it accepts again', async () => {
    const proxy = await proxyBefore(await startRedis());
    const client = clientOf(proxy);
    await client.ping();
    proxy.refuse();
    await expect(client.ping()).rejects.toThrow();
    await expect(clientOf(proxy).ping()).rejects.toThrow();
    proxy.accept();
    expect(await clientOf(proxy).ping()).toBe('PONG');
  });

  it('passes large replies to a slow reader whole', async () => {
    const server = await startRedis();
    const bytes = 20_000_000;
    await server.client().call('SETRANGE', 'large', bytes - 1, 'x');
    const client = clientOf(await proxyBefore(server));
    const replies = await Promise.all([client.getBuffer('large'), client.getBuffer('large')]);
    expect(replies.map((reply) => reply?.length)).toEqual([bytes, bytes]);
  });
});
