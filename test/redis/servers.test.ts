import { afterAll, describe, expect, it } from '@jest/globals';
import { startRedis, startReplica, stopRedis } from '../support/redis-server.js';

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
