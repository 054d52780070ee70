import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { type Clock, systemClock } from '../../src/common/clock.js';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import { RedisLog } from '../../src/log/redis/redis-log.js';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { patientClock } from '../support/patient-clock.js';
import { RedisPair } from '../support/redis-pair.js';
import {
  type RedisServer,
  startRedis,
  startReplica,
  stopRedis,
  untilInSync,
  withClient,
} from '../support/redis-server.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { describeLog, entry, EVENTS_MAX, readAll, readPayloads } from './event-log.contract.js';

/** Logs and proxies of one test; the last one is closed first. */
const opened: { close(): Promise<void> }[] = [];
let server: RedisServer;
let client: Redis;

beforeAll(async () => {
  server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  client = server.client();
});
beforeEach(() => client.flushall());
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(stopRedis);

async function openLog(
  url = server.url,
  { replicated = false, clock = patientClock }: { replicated?: boolean; clock?: Clock } = {},
): Promise<RedisLog> {
  const options = { setting: 'LOG_URL', clock, replicated, warn: () => undefined } as const;
  const connections = await RedisClient.open(parseRedisUrl(url), options);
  const newName = (): string => randomBytes(8).toString('hex');
  const log = await RedisLog.open(connections, { clock, eventsMax: EVENTS_MAX, newName });
  opened.push(log);
  return log;
}

async function openProxy(to: { readonly port: number }): Promise<TcpProxy> {
  const proxy = await startProxy(to);
  opened.push(proxy);
  return proxy;
}

/** Appends until that succeeds, and until all connections are up again. */
async function untilAppended(log: RedisLog, payload: string): Promise<void> {
  await until(() => appends(log, payload), 'the log takes entries');
  await until(() => log.available, 'the log is available');
}

async function appends(log: RedisLog, payload: string): Promise<boolean> {
  return await log.append([entry(0, payload)]).then(
    () => true,
    () => false,
  );
}

async function lastOffset(log: RedisLog): Promise<number> {
  return (await readAll(log, 0)).entries.at(-1)!.offset;
}

describeLog('the Redis log', async () => {
  await client.flushall();
  return { log: await openLog(), empty: () => client.flushall().then(), close: () => Promise.resolve() };
});

describe('a Redis log', () => {
  it('an entry of another program is not read, and the error names the commands that remove it', async () => {
    const log = await openLog();
    for (const isEntry of [true, false]) {
      await client.del('tc:{log}:3');
      await log.append([entry(3, 'own')]);
      const id = isEntry ? '*' : `${await client.hget('tc:{log}', 'incarnation')}-*`;
      await client.xadd('tc:{log}:3', id, 'events', '1', ...(isEntry ? ['total', '1', 'payload', '{}'] : []));
      const error = (await readPayloads(log, 3).catch((reason: unknown) => reason)) as Error;
      expect(error.message).toContain('tc:{log}:3 has an entry of another program');
      for (const [, command, key, argument] of error.message.matchAll(/(XDEL|XSETID) (\S+) ([\d-]+)/g)) {
        await client.call(command!, key!, argument!);
      }
      await log.append([entry(3, 'next')]);
      await log.append([entry(3, 'last')]);
      expect(await readPayloads(log, 3)).toEqual(['own', 'next', 'last']);
    }
  });

  it('two gateways append to a log at once, and each entry has an offset of its own', async () => {
    const logs = [await openLog(), await openLog()];
    expect((await logs[0]!.status()).log).toBe((await logs[1]!.status()).log);
    for (let turn = 0; turn < 10; turn++) {
      await Promise.all(logs.flatMap((log, i) => [log.append([entry(0, `${i}`, 2)]), log.append([entry(0, `${i}`)])]));
    }
    const { entries } = await readAll(logs[0]!, 0);
    expect(entries).toHaveLength(40);
    expect(new Set(entries.map(({ offset }) => offset)).size).toBe(40);
    expect((await logs[1]!.status()).partitions[0]).toMatchObject({ events: 60 });
  });

  it('a long trim removes exactly the entries up to its offset', async () => {
    const log = await openLog();
    const requests = Array.from({ length: 2_500 }, (_, i) => entry(0, String(i)));
    // Each of these entries has no event, so that the log is not full.
    await log.append(requests.map((one) => ({ ...one, events: 0 })));
    const ids = await client.xrange('tc:{log}:0', '-', '+');
    expect(ids).toHaveLength(2_500);
    const { log: name } = await readAll(log, 0);
    const [incarnation, n] = ids[2_300]![0].split('-').map(Number);
    await log.trim(name, 0, incarnation! * 2 ** 16 + n!);
    expect((await client.xrange('tc:{log}:0', '-', '+', 'COUNT', 1))[0]![1].at(-1)).toBe('2301');
  });

  it('a request of which one partition cannot be written appends nothing, and others are appended', async () => {
    const log = await openLog();
    await log.append([entry(2, 'before')]);
    await client.set('tc:{log}:3', 'in the way');
    const results = await Promise.allSettled([
      log.append([entry(2, 'with 3'), entry(3, 'nowhere')]),
      log.append([entry(2, 'alone', 5)]),
    ]);
    expect(results).toMatchObject([{ status: 'rejected', reason: { message: /WRONGTYPE/ } }, { status: 'fulfilled' }]);
    expect(await readPayloads(log, 2)).toEqual(['before', 'alone']);
    expect((await log.status()).partitions[2]).toMatchObject({ events: 6 });
    expect(log.available).toBe(true);
  });

  it('partitions without the hash of their log are no log', async () => {
    const log = await openLog();
    await log.append([entry(0, 'of a lost log')]);
    await client.del('tc:{log}');
    const advice = 'tc:{log} is missing, but its partitions are there: delete tc:{log}:*, too';
    await expect(log.append([entry(0, 'more')])).rejects.toThrow(advice);
    await expect(log.read([{ partition: 0, after: 0 }], 1)).rejects.toThrow(advice);
    await expect(openLog()).rejects.toThrow(`LOG_URL ${server.url}: `);
  });

  it('a log with other partitions is rejected at boot', async () => {
    await openLog();
    await client.hset('tc:{log}', 'partitions', '8');
    await expect(openLog()).rejects.toThrow(
      new RegExp(`^LOG_URL ${server.url}: it has 8 partitions, not 16; use the version that made it$`),
    );
  });

  it('a log out of memory takes no entries, and is read and trimmed', async () => {
    const log = await openLog();
    await log.append([entry(0, 'before')]);
    const { log: name, entries } = await readAll(log, 0);
    await client.config('SET', 'maxmemory', '1');
    try {
      await expect(log.append([entry(0, 'more')])).rejects.toThrow('OOM');
      await log.addDeadLetters([{ partition: 0, offset: 1, index: 0, reason: 'unknown', event: 'e' }]);
      await log.trim(name, 0, entries[0]!.offset);
      expect(await readAll(log, 0)).toMatchObject({ entries: [], trimmedUpTo: entries[0]!.offset });
    } finally {
      await client.config('SET', 'maxmemory', '0');
    }
    await log.append([entry(0, 'again')]);
  });

  it('a killed server that comes back has the log, and does not use an offset again', async () => {
    const log = await openLog();
    await log.append([entry(0, 'first'), entry(1, 'other')]);
    const before = await readAll(log, 0);
    await server.kill('SIGKILL');
    await expect(log.append([entry(0, 'nowhere')])).rejects.toThrow();
    expect(log.available).toBe(false);
    await server.restart();
    client = server.client();
    await untilAppended(log, 'second');
    const after = await readAll(log, 0);
    expect(after).toMatchObject({ log: before.log, entries: [...before.entries, { payload: 'second' }] });
    expect(await lastOffset(log)).toBeGreaterThanOrEqual(before.entries[0]!.offset + 2 ** 15);
  });

  it('a server that hangs rejects calls, and serves them when it goes on', async () => {
    const proxy = await openProxy(server);
    const log = await openLog(`redis://127.0.0.1:${proxy.port}`, { clock: systemClock });
    proxy.stall();
    const results = await Promise.allSettled([log.append([entry(0, 'maybe')]), log.status()]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    proxy.resume();
    await untilAppended(log, 'again');
  });
});

describe('a Redis log with replicas', () => {
  it('an append waits for a replica', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const log = await openLog(primary.url, { replicated: true });
    await untilAppended(log, 'first');
    expect(await replica.client().xlen('tc:{log}:0')).toBeGreaterThan(0);
    await replica.kill('SIGSTOP');
    await expect(log.append([entry(0, 'alone')])).rejects.toThrow('no replica confirmed');
    await replica.kill('SIGCONT');
  });

  it('a promoted replica that lacks entries does not use their offsets again', async () => {
    const pair = await RedisPair.start();
    const proxy = await openProxy(pair);
    const log = await openLog(`redis://127.0.0.1:${proxy.port}`);
    await log.append([entry(0, 'kept')]);
    await pair.detachReplica();
    await log.append([entry(0, 'lost')]);
    const lost = await lastOffset(log);
    await pair.failOver();
    await untilAppended(log, 'new');
    expect(await readPayloads(log, 0)).toEqual(['kept', 'new']);
    expect(await readPayloads(log, 0, lost)).toEqual(['new']);
  });

  it('a primary that was a replica for a while does not use offsets again that it has lost', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const log = await openLog(primary.url);
    await log.append([entry(0, 'kept')]);
    await until(async () => (await replica.client().xlen('tc:{log}:0')) === 1, 'the replica has the entry');
    await withClient(replica, (one) => one.replicaof('NO', 'ONE'));
    await log.append([entry(0, 'lost')]);
    const lost = await lastOffset(log);
    await withClient(primary, (one) => one.replicaof(replica.host, replica.port));
    await untilInSync(primary, replica);
    await withClient(primary, (one) => one.replicaof('NO', 'ONE'));
    await untilAppended(log, 'new');
    expect(await readPayloads(log, 0)).toEqual(['kept', 'new']);
    expect(await readPayloads(log, 0, lost)).toEqual(['new']);
  });

  it('two replicas that are promoted one after the other use different offsets', async () => {
    const primary = await startRedis();
    const replicas = [await startReplica(primary), await startReplica(primary)];
    const log = await openLog(primary.url);
    await log.append([entry(0, 'kept')]);
    const offsets: number[] = [];
    for (const replica of replicas) {
      await until(async () => (await replica.client().xlen('tc:{log}:0')) === 1, 'the replica has the entry');
      await withClient(replica, (one) => one.replicaof('NO', 'ONE'));
      const promoted = await openLog(replica.url);
      await promoted.append([entry(0, 'new')]);
      offsets.push(await lastOffset(promoted));
    }
    expect(offsets[1]).toBeGreaterThan(offsets[0]!);
  });
});
