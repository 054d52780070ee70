import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runInThisContext } from 'node:vm';
import { afterAll, describe, expect, it } from '@jest/globals';
import { type Clock, systemClock } from '../../src/common/clock.js';
import { freePort } from '../support/free-port.js';
import { startSentinels } from '../support/redis-sentinel.js';
import { startRedis, startReplica, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { closeConnections, GET, succeeds, increment, INCR, open } from './connections-support.js';

afterAll(async () => {
  await closeConnections();
  await stopRedis();
});

const run = promisify(execFile);
/** Jest gives test files a copy, whose environment Node does not read. */
const realProcess = runInThisContext('process') as NodeJS.Process;

async function readBootError(
  url: string,
  options?: { replicated?: boolean; clock?: Clock; setting?: 'LOG_URL' },
): Promise<string> {
  const error = await open(url, options).then(
    () => 'opened',
    (reason: unknown) => reason,
  );
  const message = error instanceof Error ? error.message : String(error);
  expect(message).not.toContain('\n');
  expect(message).not.toContain('s3cret');
  return message;
}

/** A boot polls its connection every 20 ms. After 20 polls this clock jumps past the 10 s that a boot waits. */
function clockPastDeadline(): Clock {
  const pollsMin = 20;
  let polls = 0;
  return {
    ...systemClock,
    nowMs: () => systemClock.nowMs() + (polls < pollsMin ? 0 : 60_000),
    after(ms, call) {
      return systemClock.after(ms, () => {
        if (ms === 20) polls += 1;
        call();
      });
    },
  };
}

describe('a boot that fails', () => {
  it('a server that evicts keys is rejected', async () => {
    const { url } = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] });
    expect(await readBootError(url)).toMatch(/^REDIS_URL redis:\/\/127.* maxmemory-policy allkeys-lru.*noeviction$/);
  });

  it('a replica is rejected', async () => {
    const primary = await startRedis();
    const { url } = await startReplica(primary);
    expect(await readBootError(url)).toContain(
      `is a replica and takes no writes; its primary is 127.0.0.1:${primary.port}`,
    );
  });

  it('a primary without replicas is rejected with ACK=replicated', async () => {
    const primary = await startRedis();
    expect(await readBootError(primary.url, { replicated: true })).toContain(
      'no replica online, which ACK=replicated needs',
    );
    await startReplica(primary);
    const { connections } = await open(primary.url, { replicated: true });
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'a write is replicated');
  });

  it('a node of a cluster is rejected as a single server', async () => {
    const { url } = await startRedis({ args: ['--cluster-enabled', 'yes'] });
    expect(await readBootError(url)).toContain('is a node of a cluster; use redis+cluster://');
    expect(await readBootError(url, { setting: 'LOG_URL' })).toMatch(
      /^LOG_URL .* is a node of a cluster; use a single server, or one that sentinels guard$/,
    );
  });

  it('a single server is rejected as a cluster', async () => {
    const { url } = await startRedis();
    expect(await readBootError(url.replace('redis:', 'redis+cluster:'))).toContain(
      'is not a node of a cluster; use redis://',
    );
  });

  it('a wrong password and a missing password are rejected', async () => {
    const server = await startRedis();
    const client = server.client();
    await client.acl('SETUSER', 'ann', 'on', '>s3cret-word', '~*', '&*', '+@all');
    expect(await readBootError(`redis://ann:s3cret-wrong@127.0.0.1:${server.port}`)).toContain('WRONGPASS');
    await client.config('SET', 'requirepass', 's3cret');
    expect(await readBootError(server.url)).toContain('NOAUTH');
  });

  it('a user without the right to run scripts is rejected', async () => {
    const server = await startRedis();
    await server.client().acl('SETUSER', 'ann', 'on', '>s3cret', '~*', '&*', '+@all', '-eval', '-evalsha');
    expect(await readBootError(`redis://ann:s3cret@127.0.0.1:${server.port}`)).toMatch(/does not run scripts.*NOPERM/);
  });

  it('a primary that the sentinels do not monitor is rejected', async () => {
    const { url } = await startSentinels(await startRedis(), { count: 1 });
    expect(await readBootError(url.replace('/counts', '/other'))).toContain(
      'the sentinels know no primary of that name',
    );
  });

  it('a server is rejected as a sentinel', async () => {
    const { port } = await startRedis();
    expect(await readBootError(`redis+sentinel://127.0.0.1:${port}/counts`)).toContain(
      'these are not sentinels; use redis://',
    );
  });

  it('a boot fails after 10 s when no server listens', async () => {
    const port = await freePort();
    expect(await readBootError(`redis://127.0.0.1:${port}`, { clock: clockPastDeadline() })).toBe(
      `REDIS_URL redis://127.0.0.1:${port}: could not connect: connect ECONNREFUSED 127.0.0.1:${port}`,
    );
  });
});

describe('a boot that waits', () => {
  it('a boot waits for a server that starts later', async () => {
    const port = await freePort();
    const opening = open(`redis://127.0.0.1:${port}`);
    await startRedis({ port });
    const { connections } = await opening;
    expect(await increment(connections, 'tc:{1}')).toBe(1);
  });
});

describe('a warning at boot', () => {
  it('a boot warns that a restart loses recent writes', async () => {
    const { warnings } = await open((await startRedis()).url);
    expect(warnings).toEqual([
      expect.stringMatching(/a restart loses what was written since the last save.*; set appendonly yes$/),
    ]);
  });

  it('a boot with an append-only file logs no warning', async () => {
    const { warnings } = await open((await startRedis({ args: ['--appendonly', 'yes'] })).url);
    expect(warnings).toEqual([]);
  });
});

describe('a Redis user', () => {
  it('the Redis client needs only the rights that the check at boot names', async () => {
    const server = await startRedis();
    await startReplica(server);
    const rights =
      '~tc:* &tc:* +ping +info +eval +evalsha +ssubscribe +sunsubscribe +spublish +wait +select +get +incr'.split(' ');
    await server.client().acl('SETUSER', 'ann', 'on', '>s3cret', ...rights);
    const { connections } = await open(`redis://ann:s3cret@127.0.0.1:${server.port}/3`, { replicated: true });
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'a write is replicated');
    expect(Number(await connections.query(GET, ['tc:{1}'], []))).toBeGreaterThan(0);
    const received: string[] = [];
    connections.pubSub.subscribe('tc:{1}:a', (message) => received.push(message.toString()));
    await until(async () => (await connections.pubSub.publish('tc:{1}:a', 'x')) === 1, 'the client is subscribed');
    await until(() => received.length === 1, 'the message is received');
    await expect(increment(connections, 'other')).rejects.toThrow('NOPERM');
  });
});

describe('TLS', () => {
  it('the Redis client accepts only a server whose certificate is trusted', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'tallycast-test-'));
    try {
      const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
      const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
      const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
      await run('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', cert]);
      const tlsPort = await freePort();
      const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert];
      await startRedis({ args: ['--tls-port', String(tlsPort), '--tls-auth-clients', 'no', ...files] });
      const url = `rediss://localhost:${tlsPort}`;
      expect(await readBootError(url)).toMatch(/could not connect: .*certificate/);
      // A process reads its trusted CAs once, when it starts. This test therefore accepts every certificate.
      realProcess.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
      for (const trusted of [url, `rediss://127.0.0.1:${tlsPort}`]) {
        const { connections } = await open(trusted);
        expect(await connections.write(INCR, ['tc:{1}'], [])).toHaveLength(2);
      }
    } finally {
      delete realProcess.env['NODE_TLS_REJECT_UNAUTHORIZED'];
      await rm(dir, { recursive: true, force: true });
    }
  });
});
