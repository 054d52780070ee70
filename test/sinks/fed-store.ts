import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Operation } from '../../src/counters/operation.js';
import type { Member } from '../../src/counters/changed-posts.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { groupBy } from '../../src/common/grouping.js';
import { Feeder } from '../../src/sinks/feeder.js';
import { Lease } from '../../src/store/lease.js';
import type { Sink, SinkOptions } from '../../src/sinks/sink.js';
import type { ChangeStore } from '../../src/store/change-store.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import { BUCKETS, key, like, METRICS, Producer, START_MS, unlike, view } from '../contract/operations.js';
import { applied } from '../contract/store-under-test.js';
import { hurriedClock } from '../support/hurried-clock.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';
import type { Counts, RowConsumer } from './row-consumer.js';

/** Longer than the pauses of hurriedClock. */
const INTERVAL_MS = 400;
const ACTORS = 20;

/** A gateway that may feed a sink. */
export interface FeedingGateway {
  readonly feeder: Feeder;
  /** Its warnings so far. */
  readonly warnings: readonly string[];
  /** Ends it in order. */
  close(): Promise<void>;
}

/** An embedded store whose counts change at random, and gateways that feed sinks from it. One of them has the lease. */
export class FedStore {
  #producer!: Producer;
  readonly #gateways = new Set<FeedingGateway>();
  /** The gateway with the lease, by number. */
  #holder = 0;
  #gatewaysStarted = 0;
  #storesOpened = 0;
  #store!: EmbeddedStore;

  private constructor(
    private path: string,
    private readonly random: Random,
    private readonly nonce: number,
  ) {
    this.#open();
  }

  /** @param nonce of its incarnations: two stores with different ones are not taken for one */
  static async open(seed: number, nonce = 1): Promise<FedStore> {
    return new FedStore(await newPath(), new Random(seed), nonce);
  }

  get changeStore(): ChangeStore {
    return this.#store.changeStore;
  }

  /** Starts a gateway with a sink. The first one gets the lease. */
  startGateway(build: (options: Omit<SinkOptions, 'url'>, store: ChangeStore) => Sink): FeedingGateway {
    const number = this.#gatewaysStarted++;
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const clock = hurriedClock;
    const settings = { region: 'eu', buckets: BUCKETS, metrics: METRICS, sinkMembers: false };
    const sink = build({ ...settings, clock, warn }, this.changeStore);
    const lease = new Lease({ acquireLease: () => Promise.resolve(this.#holder === number) }, 'sinks', clock);
    const options = { buckets: BUCKETS, intervalMs: INTERVAL_MS, clock, random: () => this.random.next(), warn };
    const feeder = new Feeder(this.changeStore, sink, lease, options);
    lease.start();
    feeder.start();
    const gateway = {
      feeder,
      warnings,
      close: async (): Promise<void> => {
        if (!this.#gateways.delete(gateway)) return;
        await feeder.close();
        lease.close();
      },
    };
    this.#gateways.add(gateway);
    return gateway;
  }

  /** Gives the lease to the gateway that was started as the `number`th, from 0. The one before notices later. */
  passLease(number: number): void {
    this.#holder = number;
  }

  /** Changes posts at random. */
  async change(operations: number, posts = 60): Promise<void> {
    await this.commit(Array.from({ length: operations }, () => this.#choose(`post.${this.random.below(posts)}`)));
  }

  async commit(operations: readonly Operation[]): Promise<void> {
    for (const [bucket, some] of groupBy(operations, ({ post }) => bucketOf(post, BUCKETS))) {
      await applied(this.#store, this.#producer.batch(bucket, some, START_MS));
    }
  }

  async readCounts(): Promise<Map<string, Counts>> {
    const counts = new Map<string, Counts>();
    const everyBucket = new Set(Array.from({ length: BUCKETS }, (_, bucket) => bucket));
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = await this.changeStore.readAll(everyBucket, cursor, 500);
      for (const { post, v, totals } of page.posts) counts.set(post, { v, totals });
      cursor = page.next;
    }
    return counts;
  }

  /** The members of all posts. */
  async readMembers(): Promise<Member[]> {
    const posts = [...(await this.readCounts()).keys()];
    const members: Member[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = await this.changeStore.readMembers(posts, cursor, 1_000);
      members.push(...page.members);
      cursor = page.next;
    }
    return members;
  }

  /** Waits until a consumer has the counts of the store. */
  async untilCopied(consumer: Pick<RowConsumer, 'counts'>): Promise<void> {
    const expected = await this.readCounts();
    await until(() => haveEqualCounts(consumer.counts, expected), 'the consumer has the counts of the store');
  }

  /** Closes the gateways and the store, and goes on with a copy that was made of its directory before `lose` changed it. */
  async fallBack(lose: () => Promise<void>): Promise<void> {
    const backup = await newPath();
    await this.#closeAll();
    await cp(this.path, backup, { recursive: true });
    this.#open();
    await lose();
    await this.#closeAll();
    await rm(this.path, { recursive: true });
    this.path = backup;
    this.#open();
  }

  async close(): Promise<void> {
    await this.#closeAll();
    await rm(this.path, { recursive: true });
  }

  /** Another process would be another producer, too. */
  #open(): void {
    this.#store = openStore(this.path, this.nonce);
    this.#producer = new Producer(`prod-${String(++this.#storesOpened).padStart(3, '0')}`);
  }

  async #closeAll(): Promise<void> {
    await Promise.all([...this.#gateways].map((gateway) => gateway.close()));
    await this.#store.close();
  }

  #choose(post: string): Operation {
    const actor = key(this.random.below(ACTORS));
    return this.random.pick([view(post, 1 + this.random.below(5)), like(post, actor), unlike(post, actor)]);
  }
}

function openStore(path: string, nonce: number): EmbeddedStore {
  return new EmbeddedStore({
    path,
    buckets: BUCKETS,
    actorKeys: 'hash',
    metrics: METRICS,
    region: 'eu',
    nonce: () => nonce,
  });
}

function newPath(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'tallycast-sinks-'));
}

function haveEqualCounts(left: ReadonlyMap<string, Counts>, right: ReadonlyMap<string, Counts>): boolean {
  return (
    left.size === right.size &&
    [...right].every(([post, { v, totals }]) => {
      const other = left.get(post);
      return other?.v === v && other.totals.every((total, i) => total === totals[i]);
    })
  );
}
