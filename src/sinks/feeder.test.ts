import { expect, test } from '@jest/globals';
import { BUCKETS, key, like, METRICS, postIn, Producer, view } from '../../test/contract/operations.js';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { bucketOf } from '../counters/bucket-of.js';
import { Feeder } from './feeder.js';
import { type BucketWrite, type Sink, SinkError, type SinkPosition } from './sink.js';

const INTERVAL_MS = 1_000;

/** A sink in memory that keeps its positions, and does what a test wants before each call. */
class ScriptedSink implements Sink {
  readonly name = 'scripted';
  readonly keepsPositions = true;
  readonly keepsMembers = false;
  readonly positions = new Map<number, SinkPosition>();
  readonly posts = new Map<string, readonly number[]>();
  reads = 0;
  writes = 0;
  isClosed = false;
  beforeRead: () => Promise<void> = () => Promise.resolve();
  /** @returns whether nobody else has written */
  beforeWrite: () => Promise<boolean> = () => Promise.resolve(true);

  async readPositions(): Promise<ReadonlyMap<number, SinkPosition>> {
    this.reads += 1;
    await this.beforeRead();
    return new Map(this.positions);
  }

  async write(writes: readonly BucketWrite[]): Promise<boolean> {
    this.writes += 1;
    if (!(await this.beforeWrite())) return false;
    for (const { bucket, position, posts, sums } of writes) {
      this.positions.set(bucket, { ...position, isComplete: sums !== null });
      for (const { post, totals } of posts) this.posts.set(post, totals);
    }
    return true;
  }

  adopt(): Promise<void> {
    this.positions.clear();
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

class World {
  readonly clock = new SimulatedClock();
  readonly sink = new ScriptedSink();
  readonly lease: { term: number | null } = { term: 1 };
  readonly warnings: string[] = [];
  readonly feeder: Feeder;
  readonly #producer = new Producer('producer-one');
  store = new ReferenceStore(METRICS, BUCKETS, { region: 'eu', epoch: 1, nonce: 1 });
  cycles = 0;
  /** Called when the changes of a cycle were read. */
  changesRead: () => void = () => undefined;

  constructor() {
    const { clock } = this;
    const { changeStore } = this.store;
    const changesSince = changeStore.changesSince.bind(changeStore);
    changeStore.changesSince = async (requests, options) => {
      this.cycles += 1;
      const pages = await changesSince(requests, options);
      this.changesRead();
      return pages;
    };
    const warn = (message: string): void => void this.warnings.push(message);
    const options = { buckets: BUCKETS, intervalMs: INTERVAL_MS, clock, random: () => 0.5, warn };
    this.feeder = new Feeder(changeStore, this.sink, this.lease, options);
  }

  async start(): Promise<void> {
    this.feeder.start();
    await this.clock.advance(INTERVAL_MS);
  }

  async commit(post = postIn(0)): Promise<void> {
    await this.store.commit(this.#producer.batch(0, [view(post), like(post, key(this.cycles))]));
  }

  /** Calls within a time. */
  async countWithin(ms: number): Promise<{ reads: number; cycles: number; writes: number }> {
    const { sink, cycles } = this;
    const { reads, writes } = sink;
    await this.clock.advance(ms);
    return { reads: sink.reads - reads, cycles: this.cycles - cycles, writes: sink.writes - writes };
  }
}

const down = (): Promise<never> => Promise.reject(new SinkError('down', false));
const hang = (): Promise<never> => new Promise(() => undefined);

test('a sink gets what changed once in an interval, and is left alone when nothing does', async () => {
  const world = new World();
  await world.commit();
  await world.start();
  expect(world.sink.posts.get(postIn(0))).toEqual([1, 1, 0, 0]);
  expect(await world.countWithin(20_000)).toEqual({ reads: 2, cycles: 20, writes: 0 });
  await world.commit();
  await world.commit();
  expect(await world.countWithin(INTERVAL_MS)).toEqual({ reads: 0, cycles: 1, writes: 1 });
  expect(world.sink.posts.get(postIn(0))![1]).toBe(3);
  expect(world.feeder.status).toMatchObject({ isFed: true, isUp: true, haltedBuckets: 0, fullSyncs: BUCKETS });
  expect(world.feeder.status.lagSeconds).toBeLessThanOrEqual(1);
});

test('positions are read again every 10 s, and a sink that lost its last writes gets them again', async () => {
  const world = new World();
  await world.start();
  const before = new Map(world.sink.positions);
  await world.commit();
  await world.clock.advance(INTERVAL_MS);
  for (const [bucket, position] of before) world.sink.positions.set(bucket, position);
  world.sink.posts.clear();
  expect((await world.countWithin(11_000)).reads).toBe(1);
  expect(world.sink.posts.get(postIn(0))![1]).toBe(1);
});

test('a sink that is down is tried again with pauses up to a second, its lag grows, and one warning is given', async () => {
  const world = new World();
  world.sink.beforeRead = down;
  await world.start();
  expect(world.feeder.status.lagSeconds).toBe(1);
  const { reads } = await world.countWithin(60_000);
  expect(reads).toBeGreaterThan(60);
  expect(reads).toBeLessThan(90);
  expect(world.feeder.status).toMatchObject({ isFed: true, isUp: false, lagSeconds: 61 });
  expect(world.warnings).toEqual(['scripted: down']);
});

test('a sink that can be read and not written is down, and one warning is given', async () => {
  const world = new World();
  await world.commit();
  world.sink.beforeWrite = down;
  await world.start();
  await world.clock.advance(60_000);
  expect(world.feeder.status.isUp).toBe(false);
  expect(world.warnings).toEqual(['scripted: down']);
  world.sink.beforeWrite = () => Promise.resolve(true);
  await world.clock.advance(2_000);
  expect(world.feeder.status.isUp).toBe(true);
});

test('a sink that is down again is warned of again', async () => {
  const world = new World();
  await world.start();
  for (const failures of [1, 2]) {
    await world.commit();
    world.sink.beforeWrite = down;
    await world.clock.advance(5_000);
    expect(world.feeder.status.isUp).toBe(false);
    world.sink.beforeWrite = () => Promise.resolve(true);
    await world.clock.advance(2_000);
    expect(world.feeder.status).toMatchObject({ isUp: true });
    expect(world.feeder.status.lagSeconds).toBeLessThanOrEqual(1);
    expect(world.warnings).toHaveLength(failures);
  }
});

test('after an error of configuration the sink is tried again every 30 s', async () => {
  const world = new World();
  world.sink.beforeRead = () => Promise.reject(new SinkError('no such table', true));
  await world.start();
  expect((await world.countWithin(300_000)).reads).toBe(10);
  expect(world.warnings).toEqual(['scripted: no such table']);
  world.sink.beforeRead = () => Promise.resolve();
  await world.clock.advance(31_000);
  expect(world.feeder.status.isUp).toBe(true);
});

test('another gateway that writes all the time does not make a feeder busy', async () => {
  const world = new World();
  world.sink.beforeWrite = () => Promise.resolve(false);
  await world.start();
  expect((await world.countWithin(60_000)).cycles).toBeLessThan(180);
});

test('a sink of another store is halted with one warning, and followed once it was adopted', async () => {
  const world = new World();
  const position = { epoch: 7, nonce: 7, upTo: 70, changedAtMs: 70, isComplete: true };
  for (let bucket = 0; bucket < BUCKETS; bucket++) world.sink.positions.set(bucket, position);
  await world.commit();
  await world.start();
  expect(world.feeder.status).toMatchObject({ haltedBuckets: BUCKETS, isUp: true });
  for (let second = 0; second < 120; second++) {
    await world.commit();
    await world.clock.advance(1_000);
    expect(world.feeder.status.haltedBuckets).toBe(BUCKETS);
  }
  expect(world.feeder.status.lagSeconds).toBeGreaterThan(120);
  expect(world.sink).toMatchObject({ writes: 0, reads: 13 });
  expect(world.cycles).toBeLessThan(130);
  expect(world.warnings).toHaveLength(1);
  expect(world.warnings[0]).toMatch(/^scripted: halted: .*tallycast sink adopt/);
  await world.feeder.adopt();
  await world.clock.advance(2 * INTERVAL_MS);
  expect(world.feeder.status.haltedBuckets).toBe(0);
  expect(world.sink.posts.get(postIn(0))![1]).toBe(121);
});

test('a full sync longer than the time after which positions are read again ends', async () => {
  const world = new World();
  const posts = Array.from({ length: 12_000 }, (_, i) => `post-${i}`).filter((post) => bucketOf(post, BUCKETS) === 0);
  for (const post of posts) await world.commit(post);
  world.sink.beforeWrite = async () => {
    await new Promise((resolve) => void world.clock.after(10_000, () => resolve(null)));
    return true;
  };
  await world.start();
  await world.clock.advance(200_000);
  expect(world.feeder.status).toMatchObject({ fullSyncs: BUCKETS });
  expect(world.sink.posts.size).toBe(posts.length);
});

test('a gateway that loses the lease within a cycle does not write, and begins anew with the next term', async () => {
  const world = new World();
  await world.start();
  await world.commit();
  world.changesRead = () => (world.lease.term = null);
  expect(await world.countWithin(10_000)).toEqual({ reads: 0, cycles: 1, writes: 0 });
  expect(world.feeder.status).toMatchObject({ isFed: false, lagSeconds: 0 });
  world.changesRead = () => undefined;
  world.lease.term = 2;
  expect(await world.countWithin(2_000)).toMatchObject({ reads: 1, writes: 1 });
  world.sink.beforeWrite = () => {
    world.lease.term = 3;
    return Promise.resolve(true);
  };
  await world.commit();
  expect(await world.countWithin(2_000)).toMatchObject({ reads: 1, writes: 1 });
});

test('a gateway notices an adoption with its next cycle, and one by another gateway when it reads positions again', async () => {
  const world = new World();
  await world.start();
  expect(world.feeder.noticesWithinMs).toBe(INTERVAL_MS);
  await world.sink.adopt();
  expect(await world.countWithin(INTERVAL_MS + 10_000)).toMatchObject({ reads: 1 });
  world.lease.term = null;
  expect(world.feeder.noticesWithinMs).toBe(INTERVAL_MS + 10_000);
});

test('a gateway writes what is missing when it ends', async () => {
  const world = new World();
  await world.start();
  await world.commit();
  await world.feeder.close();
  expect(world.sink.posts.get(postIn(0))![1]).toBe(1);
  expect(world.sink.isClosed).toBe(true);
  expect(await world.countWithin(10_000)).toEqual({ reads: 0, cycles: 0, writes: 0 });
});

test('a gateway ends after some seconds although its sink does not answer', async () => {
  const world = new World();
  await world.start();
  await world.commit();
  world.sink.beforeWrite = hang;
  await world.clock.advance(INTERVAL_MS);
  const closing = world.feeder.close();
  await world.clock.advance(2_900);
  expect(world.sink.isClosed).toBe(false);
  await world.clock.advance(200);
  await closing;
  expect(world.sink.isClosed).toBe(true);
});

test('a gateway whose sink is down ends at once', async () => {
  const world = new World();
  world.sink.beforeRead = down;
  await world.start();
  await world.feeder.close();
  expect(world.sink.isClosed).toBe(true);
});
