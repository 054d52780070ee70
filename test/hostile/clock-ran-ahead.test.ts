import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { stopAll, stretchedTime } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { stopRedis } from '../support/redis-server.js';
import { type Region, RegionProcesses } from '../support/region-processes.js';
import { until } from '../support/until.js';

const LIKES = '/v1/story/likes';
const HOURS_3_MS = 3 * 3_600_000;
const CLOCK_OFFSET = new URL('../support/clock-offset.mjs', import.meta.url).href;
/** Time passes faster, so that the test need not wait for three minutes. */
const FAST = stretchedTime(0.15);
/** In their fast time; with the default they would only send requests to each other. */
const REPLICATION_INTERVAL_MS = '1000';

interface Reading {
  readonly count: number;
  readonly updated_at: string | null;
}

interface Peer {
  readonly error: string;
  readonly rejectedBuckets: number;
  readonly rejections: number;
  readonly lagChanges: number | null;
}

/** Retries until the gateway answers: on a busy machine a read may exceed the gateways' fast deadlines, too. */
async function read(url: string): Promise<Reading> {
  let reading: Reading | undefined;
  const isRead = async (): Promise<boolean> => {
    const response = await fetch(url + LIKES);
    const body: unknown = await response.json();
    if (response.status === 503) return false;
    expect([response.status, body]).toEqual([200, expect.objectContaining({ count: expect.any(Number) })]);
    reading = body as Reading;
    return true;
  };
  await until(isRead, `${url} answers a read`);
  return reading!;
}

async function readPeer(url: string): Promise<Peer> {
  return ((await (await fetch(`${url}/v1/regions`)).json()) as { peers: [Peer] }).peers[0];
}

/** Retries until the operation is accepted: on a busy machine a commit may exceed the gateways' fast deadlines. */
async function put(url: string, action: 'increment' | 'decrement', actor: string): Promise<void> {
  const headers = { 'Content-Type': 'application/json', 'Actor-Id': actor };
  const body = JSON.stringify({ action });
  const taken = async (): Promise<boolean> => {
    const { status } = await fetch(url + LIKES, { method: 'PUT', headers, body });
    if (status !== 503) expect(status).toBe(200);
    return status === 200;
  };
  await until(taken, `${actor}'s ${action} is taken`);
}

/** Wall time of the gateways, which passes faster. */
function rightMs(): number {
  const since = Number(FAST.env['TIME_SCALE_SINCE_MS']);
  return since + (Date.now() - since) / Number(FAST.env['TIME_SCALE']);
}

describe.each([
  ['the embedded store', false],
  ['Redis', true],
])('a region on %s whose clock runs three hours ahead', (_, redis) => {
  const offsets = mkdtempSync(join(tmpdir(), 'tallycast-clocks-'));
  let world: RegionProcesses;
  let region: Region;
  let eu: string;
  let us: string;

  beforeAll(async () => {
    const modules = [FAST.args[1]!, CLOCK_OFFSET].map((module) => `--import ${module}`);
    const more = { ...FAST.env, REPLICATION_INTERVAL_MS, NODE_OPTIONS: modules.join(' '), CLOCK_OFFSET_DIR: offsets };
    world = await RegionProcesses.start(['eu', 'us'], { gateways: 1, redis, more });
    region = world.regions[0]!;
    [eu, us] = world.urls as [string, string];
  });

  afterAll(async () => {
    await world.close();
    await stopAll();
    await stopRedis();
    rmSync(offsets, { recursive: true });
  });

  function setClock(offsetMs: number): void {
    writeFileSync(join(offsets, 'eu'), String(offsetMs));
  }

  async function show(likes: number): Promise<void> {
    const counts = async (): Promise<string> => String([(await read(eu)).count, (await read(us)).count]);
    await until(async () => (await counts()) === String([likes, likes]), `both regions show ${likes} likes`);
    for (const url of [eu, us]) expect(Date.parse((await read(url)).updated_at!)).toBeLessThanOrEqual(rightMs());
  }

  it('a region replicates while its clock is right', async () => {
    await put(eu, 'increment', 'ann');
    await show(1);
  });

  // Tested with one store, because the clock does not depend on the store and this takes long.
  if (!redis)
    it('a clock that jumps ahead after a correct start is replaced by the elapsed time, which is logged once', async () => {
      setClock(HOURS_3_MS);
      const jumped = (): string[] =>
        world.regions[0]!.gateways[0]!.log.filter((line) => line.includes('the wall clock jumped'));
      await until(() => jumped().length > 0, 'the jump is logged');
      await put(eu, 'increment', 'bob');
      await show(2);
      expect(await readPeer(eu)).toMatchObject({ error: '', rejectedBuckets: 0 });
      setClock(0);
      await put(eu, 'decrement', 'bob');
      await show(1);
      expect(jumped()).toHaveLength(1);
    });

  it('deltas of a region that starts with a wrong clock are rejected, which both regions report, until the clock is right', async () => {
    setClock(HOURS_3_MS);
    await region.killAndRestart(0, world.env(region));
    for (const actor of ['cid', 'dan', 'eve']) await put(eu, 'increment', actor);
    await put(eu, 'decrement', 'ann');
    await until(async () => (await readPeer(eu)).rejectedBuckets > 0, 'us rejects some buckets of eu');
    const { error } = await readPeer(eu);
    expect(error).toMatch(/^us rejects \d+ buckets: their stamps are over an hour ahead of its clock/);
    expect((await readPeer(us)).rejections).toBeGreaterThan(0);
    expect((await readMetrics(us)).get('tallycast_replication_rejections_total{peer="eu"}')).toBeGreaterThan(0);
    expect((await readMetrics(eu)).get('tallycast_replication_rejected_buckets{peer="us"}')).toBeGreaterThan(0);
    const reported = world.regions[1]!.gateways[0]!.log.filter((line) =>
      line.includes('rejecting deltas of some buckets of region eu'),
    );
    expect(reported).toHaveLength(1);
    // Changes of us reach eu; only the other direction is rejected.
    await put(us, 'increment', 'fay');
    await until(async () => (await read(eu)).count === 4, 'eu shows what us counts');
    expect((await read(us)).count).toBe(2);

    setClock(0);
    // Following the clock takes three minutes of the gateways and does not depend on the store, so it is tested with one.
    if (redis) await region.killAndRestart(0, world.env(region));
    await show(4);
    await until(async () => (await readPeer(eu)).error === '', 'us accepts all buckets again');
    // The last toggle wins again, in whichever region it is made.
    await put(us, 'decrement', 'cid');
    await put(eu, 'increment', 'ann');
    await show(4);
    await put(eu, 'decrement', 'fay');
    await show(3);

    await region.killAndRestart(0, world.env(region));
    await put(eu, 'increment', 'gus');
    await show(4);
    // An error stays until the next push succeeds: on a busy machine a request may exceed the gateways' fast deadlines.
    await until(async () => {
      const { error, rejectedBuckets, lagChanges } = await readPeer(eu);
      return error === '' && rejectedBuckets === 0 && lagChanges === 0;
    }, 'us has all of eu, without an error');
  });

  it('a region that restarts with the right clock is accepted at once, and logs that its data is ahead', async () => {
    setClock(HOURS_3_MS);
    await region.killAndRestart(0, world.env(region));
    await put(eu, 'increment', 'hal');
    await until(async () => (await readPeer(eu)).rejectedBuckets > 0, 'us rejects some buckets of eu');
    setClock(0);
    await region.killAndRestart(0, world.env(region));
    await show(5);
    const { log } = region.gateways[0]!;
    expect(log.filter((line) => line.includes("ahead of this machine's clock"))).toHaveLength(1);
    expect(log.filter((line) => line.includes('the wall clock'))).toEqual([]);
  });
});
