import { expect } from '@jest/globals';
import { sleep } from '../../src/common/sleep.js';
import { systemClock } from '../../src/common/clock.js';
import { Metrics } from '../../src/counters/metrics.js';
import type { WonMilestonesResponse } from '../../src/http/milestones/milestone-admin.controller.js';
import type { WonMilestoneResponse } from '../../src/http/milestones/milestone-responses.js';
import { DeltaValidation } from '../../src/replication/transport/delta-validation.js';
import { HttpPeer } from '../../src/replication/transport/http-peer.js';
import { PushRequests } from '../../src/replication/transport/request-splitter.js';
import { readTotals } from './clients.js';
import { ADMIN_TOKEN, administer, readWinners } from './milestones.js';
import { PEER_TOKEN, type RegionProcesses } from './region-processes.js';
import { until } from './until.js';

/** Environment of the gateways of a race. */
export const RACE_ENV = {
  ADMIN_TOKEN,
  ACTOR_KEYS: 'int64',
  METRICS: 'likes:toggle,views:tally,shares:tally',
  FLUSH_MS: '1',
  MAX_OPS_PER_ADDRESS: '0',
  MAX_NEW_POSTS_PER_ADDRESS: '0',
  MAX_NEW_ACTORS_PER_ADDRESS: '0',
};
const RETRY_MS = 50;
/** Views that are sent again after a race. */
const RETRIES = 5;
/** Metric of a race: its name and its index in METRICS. */
const METRIC = 'views';
const METRIC_INDEX = 1;
const SCHEMA = { buckets: 64, actorKeys: 'int64', metrics: Metrics.parse(RACE_ENV.METRICS) } as const;

export interface RaceAnswer {
  readonly status: number;
  readonly body: { readonly reached?: true; readonly code?: string; readonly message?: string };
}

/** One addition by 1, by an actor of its own. */
export interface RacedView {
  readonly actor: string;
  /** Where its client sends it, again and again until it is acknowledged. */
  readonly region: string;
  /** Points of time that count the events of the ledger. */
  readonly sentAt: number;
  acknowledgedAt: number | null;
  hasReached: boolean;
}

/** The views of a post that clients of several regions send, and what they were answered: the ledger of a race to a milestone. */
export class RegionRace {
  readonly views: RacedView[] = [];
  /** The sum of the entries of all regions when the others had stopped counting, and when that was. */
  #frozen = { sum: 0, at: 0 };
  #now = 0;

  /** @param actors first one of its actors, which no other race has */
  constructor(
    readonly world: RegionProcesses,
    readonly post: string,
    /** The milestones that all are armed, ascending. */
    readonly milestones: readonly number[],
    private readonly actors: number,
  ) {}

  get acknowledged(): readonly RacedView[] {
    return this.views
      .filter(({ acknowledgedAt }) => acknowledgedAt !== null)
      .sort((a, b) => a.acknowledgedAt! - b.acknowledgedAt!);
  }

  /** @param more `home`: the region takes over */
  async arm(region: string, from: number, more: { readonly home?: string } = {}): Promise<void> {
    for (const at of this.milestones) {
      const body = { post: this.post, metric: METRIC, at, from, mode: 'strict', ...more };
      expect(await administer(this.world.urlOf(region), 'PUT', '', body)).toMatchObject({ status: 201 });
    }
  }

  add(region: string): RacedView {
    const view = {
      actor: String(this.actors + this.views.length),
      region,
      sentAt: (this.#now += 1),
      acknowledgedAt: null,
      hasReached: false,
    };
    this.views.push(view);
    return view;
  }

  /** Sends a view once more, even if it is acknowledged. */
  async send(view: RacedView, url = this.world.urlOf(view.region)): Promise<RaceAnswer> {
    const key = `key-of-${this.post}-${view.actor}`.padEnd(20, '-');
    const answer = await put(url, this.post, METRIC, { 'Idempotency-Key': key, 'Actor-Id': view.actor });
    expect([200, 503]).toContain(answer.status);
    if (answer.status !== 200) return answer;
    view.acknowledgedAt ??= this.#now += 1;
    const hasReached = answer.body.reached === true;
    // Only a failover may take it back.
    if (view.hasReached && !hasReached)
      throw new Error(`${view.actor} of ${this.post} was the one, and is not any more`);
    view.hasReached = hasReached;
    return answer;
  }

  /** One view after the other, each acknowledged at once. */
  async count(region: string, times = 1): Promise<void> {
    for (let i = 0; i < times; i++) {
      const { status, body } = await this.send(this.add(region));
      expect({ region, status, body }).toMatchObject({ status: 200 });
    }
  }

  async sendUntilAcknowledged(
    view: RacedView,
    urls: readonly string[] = [this.world.urlOf(view.region)],
  ): Promise<void> {
    for (let i = 0; view.acknowledgedAt === null; i++) {
      const { status } = await this.send(view, urls[i % urls.length]);
      if (status !== 200) await sleep(systemClock, RETRY_MS);
    }
  }

  /** Sends a view that the region does not do, and checks that it names the region that it waits for, and that all else goes on. */
  async expectUnavailable(region: string, waitsFor: string): Promise<RacedView> {
    const view = this.add(region);
    const { status, body } = await this.send(view);
    expect({ region, status, body }).toMatchObject({ status: 503, body: { code: 'UNAVAILABLE' } });
    expect(body.message).toContain(`region ${waitsFor}`);
    for (const { name, urls } of this.world.regions) {
      const answers = [
        await put(urls[0]!, this.post, 'shares'),
        await put(urls[0]!, `other-than-${this.post}`, METRIC),
      ];
      expect({ name, statuses: answers.map((one) => one.status) }).toEqual({ name, statuses: [200, 200] });
    }
    return view;
  }

  async untilWaitingFor(home: string, ...regions: readonly string[]): Promise<void> {
    const isWaiting = async (): Promise<boolean> => {
      const { mode, waiting_for: waitingFor } = await this.read(home);
      return mode === 'strict' && waitingFor?.join() === regions.join();
    };
    await until(isWaiting, `${home} waits for ${regions.join(', ') || 'no region'}`);
  }

  async untilMode(region: string, mode: string): Promise<void> {
    await until(async () => (await this.read(region)).mode === mode, `${region} has the mode ${mode}`);
  }

  read(region: string): Promise<WonMilestonesResponse> {
    return readWinners(this.world.urlOf(region), this.post, METRIC);
  }

  /**
   * Once all have confirmed the home: checks what it has of each region by the ledger, and notes it. From now on only the home counts. No view
   * may be on its way, and none may have been forwarded.
   */
  async freeze(home: string): Promise<void> {
    await this.untilWaitingFor(home);
    const entries = await readEntries(this.world, home, this.post);
    const names = this.world.regions.map(({ name }) => name);
    const counted = names.map((name) => this.acknowledged.filter(({ region }) => region === name).length);
    expect(names.map((name) => entries.get(name) ?? 0)).toEqual(counted);
    this.#frozen = { sum: counted.reduce((sum, one) => sum + one, 0), at: (this.#now += 1) };
  }

  /** Sends all views until they are acknowledged, and waits until all gateways have them. */
  async finish(urls?: readonly string[]): Promise<void> {
    await Promise.all(this.views.map((view) => this.sendUntilAcknowledged(view, urls)));
    await this.untilCounted(this.views.length, this.world.urls);
  }

  async untilCounted(count: number, urls: readonly string[]): Promise<void> {
    for (const url of urls) {
      const hasAll = async (): Promise<boolean> => (await readTotals(url, [this.post]))[this.post]!.views === count;
      await until(hasAll, `${url} has ${count} views of ${this.post}`);
    }
  }

  /** Resolves with the records when all gateways have them, and checks that they are the same. @param isFinal waits until they are final */
  async untilRecorded(isFinal = false): Promise<readonly WonMilestoneResponse[]> {
    const { post, milestones, world } = this;
    const read = async (url: string): Promise<readonly WonMilestoneResponse[]> =>
      (await readWinners(url, post, METRIC)).reached.filter(({ final }) => final || !isFinal);
    for (const url of world.urls) {
      await until(async () => (await read(url)).length === milestones.length, `${url} has the records of ${post}`);
    }
    const answers = await Promise.all(world.urls.map(read));
    const [first, ...others] = answers.map((records) => records.map((one) => ({ ...one, final: isFinal })));
    for (const records of others) expect(records).toEqual(first);
    expect(first!.map(({ n }) => n)).toEqual(milestones);
    return first!;
  }

  /** Checks the records by the ledger: for each milestone one view won, the N-th, and only its client is answered so, again and again. */
  async check(): Promise<readonly WonMilestoneResponse[]> {
    const records = await this.untilRecorded();
    const winners = records.map(({ actor }) => this.views.find((view) => view.actor === actor)!);
    expect(this.views.filter(({ hasReached }) => hasReached)).toEqual(expect.arrayContaining(winners));
    for (const [i, record] of records.entries()) {
      expect(record).toMatchObject({ total: record.n, value: 1, kind: 'add' });
      expect(record.missed).toBeUndefined();
      this.#checkOrder(record.n, winners[i]!);
    }
    for (const view of [...winners, ...this.views.slice(0, RETRIES)]) await this.send(view);
    const reached = this.views.filter(({ hasReached }) => hasReached);
    expect(reached.map(({ actor }) => actor).sort()).toEqual(winners.map(({ actor }) => actor).sort());
    return records;
  }

  /** Views that were acknowledged before the winner was sent come before it. Those that were sent after its acknowledgement do not. */
  #checkOrder(n: number, winner: RacedView): void {
    const { sum, at } = this.#frozen;
    const late = this.acknowledged.filter((view) => view.acknowledgedAt! > at && view !== winner);
    const before = late.filter(({ acknowledgedAt }) => acknowledgedAt! < winner.sentAt).length;
    const notAfter = late.filter(({ sentAt }) => sentAt < winner.acknowledgedAt!).length;
    expect(winner.acknowledgedAt).toBeGreaterThan(at);
    expect(sum + before + 1).toBeLessThanOrEqual(n);
    expect(sum + notAfter + 1).toBeGreaterThanOrEqual(n);
  }
}

/** @returns what each region has counted of the metric, as far as this one knows it */
async function readEntries(world: RegionProcesses, region: string, post: string): Promise<Map<string, number>> {
  const { name: from } = world.regions.find(({ name }) => name !== region)!;
  const validation = new DeltaValidation(SCHEMA.buckets, SCHEMA.actorKeys, SCHEMA.metrics);
  const options = { region: from, token: PEER_TOKEN, validation, requests: new PushRequests(), clock: systemClock };
  const peer = new HttpPeer({ region, url: new URL(world.urlOf(region)) }, options);
  try {
    const counts = new Map<string, number>();
    for (const { posts } of await peer.readPosts([post])) {
      for (const { metric, incarnation, p, n } of posts.flatMap(({ entries }) => entries)) {
        const { region: name } = incarnation;
        if (metric === METRIC_INDEX) counts.set(name, (counts.get(name) ?? 0) + p - n);
      }
    }
    return counts;
  } finally {
    peer.close();
  }
}

/** @returns the answer; 503 without one */
async function put(url: string, post: string, metric: string, more: Record<string, string> = {}): Promise<RaceAnswer> {
  const headers = { 'Content-Type': 'application/json', ...more };
  try {
    const request = { method: 'PUT', headers, body: '{"action":"increment"}' };
    const response = await fetch(`${url}/v1/${post}/${metric}`, request);
    return { status: response.status, body: (await response.json()) as RaceAnswer['body'] };
  } catch {
    return { status: 503, body: {} };
  }
}
