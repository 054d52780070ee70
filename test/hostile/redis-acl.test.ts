import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { allAccepted, postEvents, readCount } from '../support/events.js';
import { freePort } from '../support/free-port.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { startCluster } from '../support/redis-cluster.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const [, RULES] = /^ACL SETUSER (.+)$/m.exec(readFileSync(join(ROOT, 'docs/deploy.md'), 'utf8'))!;
const SCRIPTS = ['src/store/redis/scripts', 'src/log/redis/scripts'].map((folder) => join(ROOT, folder));
const PEER_TOKEN = 'a-token-of-all-the-regions';

afterEach(stopAll);
afterAll(stopRedis);

/** Creates the user of docs/deploy.md. @returns a URL with its credentials */
async function withUser(server: RedisServer): Promise<string> {
  await server.client().call('ACL', 'SETUSER', ...RULES!.split(' '));
  return server.url.replace('redis://', 'redis://tallycast:secret@');
}

async function findDenials(server: RedisServer): Promise<unknown> {
  return server.client().call('ACL', 'LOG');
}

async function like({ url }: GatewayProcess, actor: string): Promise<void> {
  const headers = { 'Content-Type': 'application/json', 'Actor-Id': actor };
  const response = await fetch(`${url}/v1/a/likes`, { method: 'PUT', headers, body: '{"action":"increment"}' });
  expect(response.status).toBeLessThan(300);
}

async function likes({ url }: GatewayProcess): Promise<number> {
  const { counts } = (await (await fetch(`${url}/v1/counts?posts=a`)).json()) as { counts: { likes: number }[] };
  return counts[0]!.likes;
}

describe('the Redis user of docs/deploy.md', () => {
  it('the Redis user of docs/deploy.md may use every command of every script, and may not read the configuration', async () => {
    const server = await startRedis();
    await withUser(server);
    const client = server.client();
    const source = SCRIPTS.flatMap((folder) =>
      readdirSync(folder, { encoding: 'utf8', recursive: true })
        .filter((file) => file.endsWith('.lua'))
        .map((name) => readFileSync(join(folder, name), 'utf8')),
    );
    const commands = new Set([...source.join('\n').matchAll(/call\('([A-Z]+)'/g)].map(([, name]) => name!));
    commands.delete('PUBSUB');
    expect(commands.size).toBeGreaterThan(30);
    const denied: string[] = [];
    for (const name of commands) {
      const [info] = (await client.call('COMMAND', 'INFO', name)) as [[string, number]];
      const args = Array.from({ length: Math.abs(info[1]) - 1 }, () => 'tc:{1}');
      if ((await client.call('ACL', 'DRYRUN', 'tallycast', name, ...args)) !== 'OK') denied.push(name);
    }
    expect(denied).toEqual([]);
    expect(await client.call('ACL', 'DRYRUN', 'tallycast', 'CONFIG', 'GET', 'requirepass')).toMatch(/no permissions/);
  });

  it('the Redis user of docs/deploy.md is enough for regions of several workers each, with a log', async () => {
    const servers = await Promise.all([startRedis(), startRedis()]);
    const urls = await Promise.all(servers.map(withUser));
    const ports = [await freePort(), await freePort()];
    const [eu, us] = await Promise.all(
      ['eu', 'us'].map((REGION, i) =>
        startGateway({
          ...{ REGION, PEER_TOKEN, WORKERS: '2', REDIS_URL: urls[i]!, LOG_URL: urls[i]!, PORT: String(ports[i]!) },
          PEERS: `${REGION === 'eu' ? 'us' : 'eu'}=http://127.0.0.1:${ports[1 - i]!}`,
        }),
      ),
    );
    await like(eu!, 'ann');
    await like(us!, 'bob');
    for (const gateway of [eu!, us!]) await until(async () => (await likes(gateway)) === 2, 'both likes are counted');
    expect(await postEvents(eu!.url, { events: [{ post: 'b' }] })).toEqual(allAccepted(1));
    await until(async () => (await readCount(eu!.url, 'b', 'views')) === 1, 'the view is counted');
    for (const server of servers) expect(await findDenials(server)).toEqual([]);
    expect(eu!.log.join()).toContain('LOG_URL names a server of REDIS_URL: the log is down whenever the counts are');
  });

  it('the Redis user of docs/deploy.md is enough for a cluster', async () => {
    const { nodes } = await startCluster({ primaries: 3, replicasEach: 0 });
    await Promise.all(nodes.map(withUser));
    const hosts = nodes.map(({ host, port }) => `${host}:${port}`).join(',');
    const gateway = await startGateway({ REDIS_URL: `redis+cluster://tallycast:secret@${hosts}` });
    await like(gateway, 'ann');
    expect(await likes(gateway)).toBe(1);
    for (const node of nodes) expect(await findDenials(node)).toEqual([]);
  });
});
