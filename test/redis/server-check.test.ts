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

async function refusal(url: string, options?: { replicated?: boolean; clock?: Clock }): Promise<string> {
  const error = await open(url, options).then(
    () => 'opened',
    (reason: unknown) => reason,
  );
  const message = error instanceof Error ? error.message : String(error);
  expect(message).not.toContain('\n');
  expect(message).not.toContain('s3cret');
  return message;
}

/** A boot looks every 20 ms whether it is connected. After some looks it is late: more than the 10 s that a boot waits. */
function hastyClock(): Clock {
  const looksMin = 20;
  let looks = 0;
  return {
    ...systemClock,
    nowMs: () => systemClock.nowMs() + (looks < looksMin ? 0 : 60_000),
    after(ms, call) {
      return systemClock.after(ms, () => {
        if (ms === 20) looks += 1;
        call();
      });
    },
  };
}

describe('a boot is refused', () => {
  it('by a server that throws keys away', async () => {
    const { url } = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] });
    expect(await refusal(url)).toMatch(/^REDIS_URL redis:\/\/127.* maxmemory-policy allkeys-lru.*noeviction$/);
  });

  it('by a replica', async () => {
    const primary = await startRedis();
    const { url } = await startReplica(primary);
    expect(await refusal(url)).toContain(`is a replica and takes no writes; its primary is 127.0.0.1:${primary.port}`);
  });

  it('by a primary without replicas if they must confirm', async () => {
    const primary = await startRedis();
    expect(await refusal(primary.url, { replicated: true })).toContain('no replica online, which ACK=replicated needs');
    await startReplica(primary);
    const { connections } = await open(primary.url, { replicated: true });
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'is confirmed');
  });

  it('by a node of a cluster that is taken for a lone server', async () => {
    const { url } = await startRedis({ args: ['--cluster-enabled', 'yes'] });
    expect(await refusal(url)).toContain('is a node of a cluster; use redis+cluster://');
  });

  it('by a lone server that is taken for a cluster', async () => {
    const { url } = await startRedis();
    expect(await refusal(url.replace('redis:', 'redis+cluster:'))).toContain(
      'is not a node of a cluster; use redis://',
    );
  });

  it('by a wrong password, and a missing one', async () => {
    const server = await startRedis();
    const client = server.client();
    await client.acl('SETUSER', 'ann', 'on', '>s3cret-word', '~*', '&*', '+@all');
    expect(await refusal(`redis://ann:s3cret-wrong@127.0.0.1:${server.port}`)).toContain('WRONGPASS');
    await client.config('SET', 'requirepass', 's3cret');
    expect(await refusal(server.url)).toContain('NOAUTH');
  });

  it('where scripts are not permitted', async () => {
    const server = await startRedis();
    await server.client().acl('SETUSER', 'ann', 'on', '>s3cret', '~*', '&*', '+@all', '-eval', '-evalsha');
    expect(await refusal(`redis://ann:s3cret@127.0.0.1:${server.port}`)).toMatch(/does not run scripts.*NOPERM/);
  });

  it('by a primary that the sentinels do not know', async () => {
    const { url } = await startSentinels(await startRedis(), { count: 1 });
    expect(await refusal(url.replace('/counts', '/other'))).toContain('the sentinels know no primary of that name');
  });

  it('by a server that is taken for a sentinel', async () => {
    const { port } = await startRedis();
    expect(await refusal(`redis+sentinel://127.0.0.1:${port}/counts`)).toContain(
      'these are not sentinels; use redis://',
    );
  });

  it('where nobody listens, after a while', async () => {
    const port = await freePort();
    expect(await refusal(`redis://127.0.0.1:${port}`, { clock: hastyClock() })).toBe(
      `REDIS_URL redis://127.0.0.1:${port}: could not connect: connect ECONNREFUSED 127.0.0.1:${port}`,
    );
  });
});

describe('a boot waits', () => {
  it('for a server that comes later', async () => {
    const port = await freePort();
    const opening = open(`redis://127.0.0.1:${port}`);
    await startRedis({ port });
    const { connections } = await opening;
    expect(await increment(connections, 'tc:{1}')).toBe(1);
  });
});

describe('a warning', () => {
  it('says what a restart loses', async () => {
    const { warnings } = await open((await startRedis()).url);
    expect(warnings).toEqual([expect.stringMatching(/a restart loses what was written since the last save.*; set appendonly yes$/)]);
  });

  it('is not needed when each write is logged', async () => {
    const { warnings } = await open((await startRedis({ args: ['--appendonly', 'yes'] })).url);
    expect(warnings).toEqual([]);
  });
});

describe('a user', () => {
  it('needs no more rights than the check says', async () => {
    const server = await startRedis();
    await startReplica(server);
    const rights =
      '~tc:* &tc:* +ping +info +eval +evalsha +ssubscribe +sunsubscribe +spublish +wait +select +get +incr'.split(' ');
    await server.client().acl('SETUSER', 'ann', 'on', '>s3cret', ...rights);
    const { connections } = await open(`redis://ann:s3cret@127.0.0.1:${server.port}/3`, { replicated: true });
    await until(() => succeeds(increment(connections, 'tc:{1}')), 'is confirmed');
    expect(Number(await connections.query(GET, ['tc:{1}'], []))).toBeGreaterThan(0);
    const heard: string[] = [];
    connections.pubSub.subscribe('tc:{1}:a', (message) => heard.push(message.toString()));
    await until(async () => (await connections.pubSub.publish('tc:{1}:a', 'x')) === 1, 'is subscribed');
    await until(() => heard.length === 1, 'is heard');
    await expect(increment(connections, 'other')).rejects.toThrow('NOPERM');
  });
});

describe('TLS', () => {
  it('is spoken to a server whose certificate is trusted, and to no other', async () => {
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
      expect(await refusal(url)).toMatch(/could not connect: .*certificate/);
      // Which CAs are trusted is fixed when a process starts, so here: any.
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
