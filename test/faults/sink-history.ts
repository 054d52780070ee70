import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { expect } from '@jest/globals';
import { SCALE } from '../property/runs.js';
import { connect, sumLedgers } from '../support/clients.js';
import { FAST_RECONNECT } from '../support/clients-crowd.js';
import { requestAdmin } from '../support/fed-gateway.js';
import { readMetric } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';
import { type CountsByPost, readDead, readRows, readStore } from './copied-rows.js';
import { cutLink, type FedDeployment, type FedGateway } from './fed-deployment.js';
import { GatewaysUnderLoad } from './gateways-under-load.js';

const SOCKETS = 18;
const POSTS = Array.from({ length: 40 }, (_, i) => `post-${i}`);
/** The database rejects the row of this post once it has more views. */
const REJECTED_POST = POSTS[0]!;
const ACCEPTED_VIEWS_MAX = 2_000;
/** Time between the beginnings of two events, at most. */
const GAP_MAX_MS = SCALE > 1 ? 6_000 : 1_500;
const CUT_MS = SCALE > 1 ? 30_000 : 2_500;
const POSTGRES_DOWN_MAX_MS = 1_500;
/** Acknowledged operations that the promoted replica lacks, at least. */
const MISSING = 300;
/** Above the 5 s after which a gateway rejects an operation that waits. */
const RESPONSE_MAX_MS = 8_000;

/** Something that happens to a deployment under load. */
export type Event = (history: SinkHistory) => Promise<void>;

/** Events after which everything is counted that was acknowledged. */
export const EVENTS: readonly Event[] = [
  (history) => history.killGateway(),
  (history) => history.killGateway(),
  (history) => history.deployment.pauseFeeder(),
  (history) => history.killPostgres('SIGKILL'),
  (history) => history.killPostgres('SIGQUIT'),
  (history) => history.cutLinkToPostgres(),
  (history) => history.cutLinkToRedis(),
  (history) => history.failOver(),
  (history) => history.addMetric(),
  (history) => history.audit(),
];

/** Among them is a failover that loses what a killed gateway has acknowledged. */
export const LOSING_EVENTS: readonly Event[] = [
  (history) => history.failOverWithKill(),
  (history) => history.deployment.pauseFeeder(),
  (history) => history.killPostgres('SIGKILL'),
  (history) => history.cutLinkToPostgres(),
];

/** A deployment with a crowd that acts on it, and events that happen to it at random times. */
export class SinkHistory {
  /** Chooses events. The crowd has another one, because it draws in the order of its acknowledgements. */
  readonly #random: Random;
  readonly #load: GatewaysUnderLoad;
  readonly #label: { readonly seed: number };
  readonly #shares = new Map<string, number>();
  /** The gateway that was killed while a failover lost commits. */
  #killed: FedGateway | null = null;

  constructor(
    readonly deployment: FedDeployment,
    seed: number,
  ) {
    this.#label = { seed };
    this.#random = new Random(seed);
    // A client whose connection breaks while it upgrades notices only after 25 s without a ping.
    const options = { ...FAST_RECONNECT, transports: ['websocket'] };
    this.#load = new GatewaysUnderLoad(deployment.urls, POSTS, SOCKETS, new Random(seed), options);
  }

  /** Resolves when all events are over. Several happen at once. */
  async run(events: readonly Event[]): Promise<void> {
    await this.#rejectPost();
    this.#load.crowd.act();
    await this.#load.crowd.untilAcknowledgements(SOCKETS);
    const happening: Promise<void>[] = [];
    for (const event of this.#shuffle(events)) {
      const happened = event(this);
      // Another failure that comes first is the one to report.
      happened.catch(() => undefined);
      happening.push(happened);
      await sleep(this.#random.below(GAP_MAX_MS));
    }
    // The next history would be disturbed by events that go on after a failure.
    await Promise.allSettled(happening);
    await Promise.all(happening);
    const isAbove = async (): Promise<boolean> =>
      ((await this.#readStore())[REJECTED_POST]?.views ?? 0) > ACCEPTED_VIEWS_MAX;
    await until(isAbove, 'a post is above the limit');
  }

  /**
   * Stops the crowd, and waits until the rows equal the counts of the store, but for the rejected one.
   * @returns how long that takes once everything is acknowledged
   */
  async untilCopied(): Promise<number> {
    const { crowd } = this.#load;
    crowd.stop();
    await crowd.untilAcknowledged();
    const calmAtMs = performance.now();
    await this.#untilEqual([REJECTED_POST]);
    return performance.now() - calmAtMs;
  }

  /** Fails unless the store has exactly what was acknowledged. */
  async expectExact(): Promise<void> {
    await this.#load.expectExact(this.#label);
    const shares = Object.entries(await this.#readStore()).filter(([, counts]) => counts.shares > 0);
    const counted = Object.fromEntries(shares.map(([post, counts]) => [post, counts.shares]));
    expect({ ...this.#label, shares: counted }).toEqual({ ...this.#label, shares: Object.fromEntries(this.#shares) });
  }

  /** Fails if more is lost than what one killed gateway has acknowledged, or if something was counted twice. */
  async expectBounded(): Promise<void> {
    const { gateways } = this.deployment;
    const { clients } = this.#load.crowd;
    const kept = clients.filter((_, i) => gateways[i % gateways.length] !== this.#killed);
    const [least, most] = [kept, clients].map((some) =>
      sumLedgers(
        some.map(({ sent }) => sent),
        POSTS,
      ),
    );
    const store = await this.#readStore();
    const wrong = POSTS.filter((post) => {
      const views = store[post]?.views ?? 0;
      return views < least![post]!.views || views > most![post]!.views;
    });
    expect({ ...this.#label, wrong }).toEqual({ ...this.#label, wrong: [] });
  }

  /** Fails unless the rejected row alone is dead. Then accepts it, and fails if anything differs, or did for an audit or a gateway. */
  async expectOneDead(): Promise<void> {
    const { database } = this.deployment;
    expect(await readDead(database)).toEqual([REJECTED_POST]);
    const { proxied } = await this.deployment.findFeeder();
    await this.#expectNoDrift(proxied);
    await database.sql('ALTER TABLE tallycast_counts DROP CONSTRAINT few');
    expect(await requestAdmin(proxied, '/admin/sinks/retry')).toMatchObject({ done: true, rows: 1 });
    await this.#untilEqual([]);
    expect(await readDead(database)).toEqual([]);
    const audit = await requestAdmin(proxied, '/admin/audit');
    expect({ ...this.#label, audit }).toMatchObject({ ...this.#label, audit: { done: true, drift: 0 } });
    const warnings = this.deployment.sinkWarnings.filter((warning) => /differs|halted/.test(warning));
    expect({ ...this.#label, warnings }).toEqual({ ...this.#label, warnings: [] });
  }

  async killGateway(): Promise<void> {
    const gateway = this.#random.pick(this.deployment.gateways);
    await this.deployment.ends.take(() => this.deployment.kill(gateway));
  }

  async killPostgres(signal: 'SIGKILL' | 'SIGQUIT'): Promise<void> {
    await this.deployment.killPostgres(signal, this.#random.below(POSTGRES_DOWN_MAX_MS));
  }

  async cutLinkToPostgres(): Promise<void> {
    await cutLink(this.deployment.toDatabase, this.#random.pick(['refuse', 'stall'] as const), CUT_MS);
  }

  async cutLinkToRedis(): Promise<void> {
    const { toRedis } = this.#random.pick(this.deployment.gateways).proxied;
    await cutLink(toRedis, this.#random.pick(['refuse', 'stall'] as const), CUT_MS);
  }

  /** The gateways replay what the replica lacks, so nothing is lost in the end. */
  async failOver(): Promise<void> {
    await this.deployment.ends.take(async () => {
      const before = await this.#sumReplayed();
      await this.#failOver();
      // The links of some gateways may be cut. Until they are back, the others count on.
      await this.deployment.untilReady();
      await this.#load.expectExact({ ...this.#label, after: 'a failover' });
      expect(await this.#sumReplayed()).toBeGreaterThan(before);
      this.#load.crowd.act();
    });
  }

  /** Loses what a killed gateway has acknowledged after the replica was detached. */
  async failOverWithKill(): Promise<void> {
    const killed = this.#random.pick(this.deployment.gateways);
    this.#killed = killed;
    await this.deployment.ends.take(() => this.#failOver(() => this.deployment.kill(killed)));
  }

  async addMetric(): Promise<void> {
    await this.deployment.addMetric();
    await this.#share();
  }

  /** Nothing differs while counts change. */
  async audit(): Promise<void> {
    await this.#expectNoDrift(this.#random.pick(this.deployment.gateways).proxied);
  }

  async #failOver(meanwhile: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const { redis } = this.deployment;
    await redis.detachReplica();
    await this.#load.crowd.untilAcknowledgements(MISSING);
    await meanwhile();
    await redis.failOver();
    await redis.attachReplica();
  }

  async #sumReplayed(): Promise<number> {
    const { urls } = this.deployment;
    const counts = await Promise.all(urls.map((url) => readMetric(url, 'tallycast_replayed_batches_total')));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Shares posts at a gateway, each one again until it is acknowledged. */
  async #share(): Promise<void> {
    const socket = connect(this.deployment.urls[0]!, { actor: 'ann', session: randomUUID() }, FAST_RECONNECT);
    for (const [i, post] of POSTS.entries()) {
      const operation = { post, metric: 'shares', by: i + 1, seq: i + 1 };
      const isAcknowledged = async (): Promise<boolean> => {
        const late = sleep(RESPONSE_MAX_MS, null, { ref: false });
        // A connection that breaks rejects it.
        const response = socket.emitWithAck('add', operation).catch(() => null);
        return (await Promise.race([response, late]))?.ok === true;
      };
      await until(isAcknowledged, 'a post is shared');
      this.#shares.set(post, operation.by);
    }
    socket.close();
  }

  /** Makes the database reject the row of one post above a limit, as soon as a gateway has made the tables. */
  async #rejectPost(): Promise<void> {
    const { database } = this.deployment;
    const check = `post <> '${REJECTED_POST}' OR views <= ${ACCEPTED_VIEWS_MAX}`;
    const isAdded = async (): Promise<boolean> =>
      await database.sql(`ALTER TABLE tallycast_counts ADD CONSTRAINT few CHECK (${check})`).then(
        () => true,
        () => false,
      );
    await until(isAdded, 'the tables are made');
  }

  async #untilEqual(leftOut: readonly string[]): Promise<void> {
    const keep = (counts: CountsByPost): CountsByPost =>
      Object.fromEntries(Object.entries(counts).filter(([post]) => !leftOut.includes(post)));
    let store: CountsByPost = {};
    let rows: CountsByPost = {};
    const isEqual = async (): Promise<boolean> => {
      [store, rows] = await Promise.all([this.#readStore().then(keep), readRows(this.deployment.database).then(keep)]);
      return isDeepStrictEqual(rows, store);
    };
    await until(isEqual, 'the rows equal the counts').catch(() => {
      expect({ ...this.#label, rows }).toEqual({ ...this.#label, rows: store });
    });
  }

  async #readStore(): Promise<CountsByPost> {
    return await readStore(this.deployment.urls[0]!, POSTS);
  }

  /** An audit that cannot be done at the moment finds nothing. */
  async #expectNoDrift(gateway: { readonly url: string }): Promise<void> {
    const lines: string[] = [];
    await requestAdmin(gateway, '/admin/audit', (line) => lines.push(line)).catch(() => undefined);
    const drift = lines.filter((line) => line.includes('"arm"'));
    expect({ ...this.#label, drift }).toEqual({ ...this.#label, drift: [] });
  }

  #shuffle(events: readonly Event[]): Event[] {
    return events
      .map((event) => ({ event, at: this.#random.next() }))
      .sort((a, b) => a.at - b.at)
      .map(({ event }) => event);
  }
}
