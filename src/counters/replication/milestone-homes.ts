import { computeTotal, type PostState } from '../bucket.js';
import { recordMissed } from '../milestone-records.js';
import type { Metrics } from '../metrics.js';
import {
  arm,
  type ArmOptions,
  type ArmResult,
  disarm,
  type MilestoneHomes,
  type Milestones,
  NO_MILESTONES,
  NOT_SHARED,
  type SharedMilestones,
} from '../milestones.js';
import type { Operation } from '../operation.js';
import { toForwardKey } from './forward-key.js';
import { HomeExchange } from './home-exchange.js';
import { computeDefaultStart, HOME_RULES, type HomeRules, type HomesBucket } from './home-rules.js';

/**
 * Which region decides about the milestones of a metric. No region knows the total of all, so one of them decides, and knows when it may:
 *
 *     home h                                                    every other region i
 *     `start` is reached: claims (h, number), ships it  ──────▶ merges it; from this commit on it counts nothing of the metric, and its
 *                                                               operations are ELSEWHERE; ships a confirmation with its next stamp
 *     an operation that would reach a milestone waits   ◀──────
 *     until each i has confirmed, and all that i changed up to the stamp of the confirmation is here
 *     the operation reaches it, as with one region      ◀────── forwarded operations
 *     nothing more is near: releases                    ──────▶ counts again, but for retries of what it has forwarded
 *
 * That is `strict`. In `order` nobody stops counting, and what is merged late is ordered late: a home has to be confirmed only once, so
 * that no two regions decide.
 */
export class ReplicatedHomes implements MilestoneHomes {
  readonly exchange: HomeExchange;

  constructor(
    private readonly bucket: HomesBucket,
    private readonly metrics: Metrics,
    private readonly rules: HomeRules = HOME_RULES,
  ) {
    this.exchange = new HomeExchange(bucket, metrics, rules);
  }

  admits(operation: Operation, total: number, stamp: number, isReplay: boolean): boolean {
    const { post, metric, value } = operation;
    const isCountedAgain = isReplay && this.rules.countsReplays;
    if (this.#isElsewhere(operation, isCountedAgain)) return false;
    if (!isCountedAgain && this.#listChanged(operation).some((one) => this.#mustWait(post, one))) return false;
    const milestones = this.bucket.milestones.get(post, metric);
    if (milestones?.shared === undefined || value <= 0) return true;
    this.#releaseIfOver(post, metric, milestones, total, () => stamp);
    this.#claimFrom(post, metric, total + value, () => stamp);
    const next = this.bucket.milestones.get(post, metric)!;
    if (next.shared!.starts.length === 0 || next.armed[0] === undefined || next.armed[0] > total + value) return true;
    return !this.rules.waitsForConfirmations || this.#hasAllConfirmations(next.shared!);
  }

  /** @returns the region that has to do the operation; `null`: it has to wait here */
  forwardTo(operation: Operation): string | null {
    const metrics = this.#listChanged(operation);
    const frozen = this.#findFrozen(operation, metrics);
    const before = this.#findForwarded(operation, metrics);
    return before ?? (frozen === undefined ? null : this.exchange.get(operation.post, frozen).home!.region);
  }

  /** @returns the regions that have not confirmed that this one decides, of those whose confirmation it needs; none where it does not decide */
  findUnconfirmed(post: string, metric: number): readonly string[] {
    const shared = this.bucket.milestones.get(post, metric)?.shared ?? NOT_SHARED;
    const { home } = shared;
    if (home?.region !== this.exchange.region || home.mode === 'released') return [];
    return this.bucket.peers.filter((region) => !this.#hasConfirmationOf(region, shared));
  }

  /**
   * Whether another region has to do the operation, because it decides, or because it got it before. Notes that it is forwarded.
   * @param isCountedAgain it was counted here, and lost: that is lost for all regions, because the counts of a new incarnation replace
   * those of earlier ones everywhere. So it is counted again where it was, even after this region has confirmed a home. If it were sent to
   * the home, it might meet a mark of a later operation of its session there, and nobody would have counted it
   */
  #isElsewhere(operation: Operation, isCountedAgain: boolean): boolean {
    const { post, session, seq, isForwarded = false } = operation;
    const metrics = this.#listChanged(operation);
    if (this.#findForwarded(operation, metrics) !== undefined) return true;
    const frozen = isCountedAgain ? undefined : this.#findFrozen(operation, metrics);
    if (frozen === undefined) return false;
    const { region } = this.exchange.get(post, frozen).home!;
    if (session !== null && this.rules.keepsMarkOf(operation))
      this.bucket.forwardMarks.set(toForwardKey(session, region, isForwarded), seq);
    return true;
  }

  /** @returns the metrics that an operation may change: its own, and the options that it would put off */
  #listChanged({ metric, kind, value }: Operation): readonly number[] {
    return kind === 'set' && value === 1 ? [metric, ...this.metrics.otherOptions[metric]!] : [metric];
  }

  /** @returns the metric that makes it an operation of another region */
  #findFrozen({ post }: Operation, metrics: readonly number[]): number | undefined {
    return metrics.find((one) => this.isFrozen(post, one));
  }

  /**
   * @returns the region that got the operation before, for whichever of its metrics. A mark is the highest seq, so those of several
   * former homes may cover it: the lowest of them is that of the region that got it, because later operations went to later homes.
   * A region that is no longer in PEERS would never answer
   */
  #findForwarded(operation: Operation, metrics: readonly number[]): string | undefined {
    const { post, session, seq, isForwarded = false } = operation;
    if (session === null || !this.rules.keepsMarkOf(operation)) return undefined;
    const marks = new Map<string, number>();
    for (const metric of this.rules.forwardedFor(metrics)) {
      for (const region of this.exchange.get(post, metric).forwardedTo.filter((one) => this.bucket.peers.includes(one)))
        marks.set(region, this.bucket.forwardMarks.get(toForwardKey(session, region, isForwarded)));
    }
    return this.rules.selectForwarded([...marks].filter(([, mark]) => seq <= mark));
  }

  /** Whether another region has to do what changes the metric. */
  isFrozen(post: string, metric: number): boolean {
    const home = this.bucket.milestones.get(post, metric)?.shared?.home;
    return home != null && this.rules.freezes(home, this.exchange.region);
  }

  decidable(post: string, metric: number): Milestones | undefined {
    const milestones = this.bucket.milestones.get(post, metric);
    const shared = milestones?.shared;
    if (milestones === undefined || shared === undefined) return milestones;
    if (shared.home?.region !== this.exchange.region || shared.home.mode === 'released') return undefined;
    if (!this.rules.waitsForConfirmations) return milestones;
    return this.#becomesEffective(post, metric, milestones) ? this.bucket.milestones.get(post, metric) : undefined;
  }

  /**
   * Arms a milestone here, so that this region becomes the home.
   * @param total as far as it is known here; @param stamp of the change
   */
  arm(post: string, metric: number, n: number, options: ArmOptions, total: number, stamp: number): ArmResult {
    const own = this.bucket.milestones.get(post, metric) ?? NO_MILESTONES;
    const { home, starts } = own.shared ?? NOT_SHARED;
    const isElsewhere = home !== null && home.mode !== 'released' && home.region !== this.exchange.region;
    if (isElsewhere && options.takesOver !== true) return { kind: 'elsewhere', home: home.region };
    const isStrict = options.mode === 'strict';
    // In `order` the other regions would count again, while the former home may still decide.
    if (isElsewhere && home.mode === 'strict' && !isStrict) return { kind: 'mode', mode: home.mode };
    const isMixed = own.armed.length > 0 && isStrict !== starts.length > 0;
    if (isMixed) return { kind: 'mode', mode: isStrict ? 'order' : 'strict' };
    const others = isStrict ? this.#listElsewhere(post, metric) : [];
    if (others[0] !== undefined && options.takesOver !== true) return { kind: 'choice', home: others[0].region };
    const { result, milestones } = arm(own, n, total, this.bucket.milestones.armedCount);
    if (milestones === null) return result;
    const shared = own.shared ?? NOT_SHARED;
    const left = shared.starts.filter((one) => milestones.armed.includes(one.n));
    const from = options.from ?? computeDefaultStart(n);
    this.exchange.set(post, metric, {
      ...milestones,
      shared: { ...shared, starts: isStrict ? [...left, { n, from }] : [] },
    });
    // Below its start no operation here would come to claim it, if all are forwarded to the former home.
    if (isStrict && isElsewhere) this.exchange.setHome(post, metric, 'strict', () => stamp);
    else if (isStrict) this.#claimFrom(post, metric, total, () => stamp);
    else if (home?.region !== this.exchange.region || home.mode !== 'order')
      this.exchange.setHome(post, metric, 'order', () => stamp);
    for (const other of others) this.exchange.setHome(post, other.metric, 'strict', () => stamp);
    return result;
  }

  /** @returns the other options of a choice about which another region decides in `strict`: one region has to decide about all of them */
  #listElsewhere(post: string, metric: number): { readonly metric: number; readonly region: string }[] {
    return this.metrics.otherOptions[metric]!.filter((other) => this.isFrozen(post, other)).map((other) => ({
      metric: other,
      region: this.exchange.get(post, other).home!.region,
    }));
  }

  /** @returns whether it was armed. The last one lets other regions count again. */
  disarm(post: string, metric: number, n: number, stamp: number): boolean {
    const own = this.bucket.milestones.get(post, metric);
    const milestones = own === undefined ? null : disarm(own, n);
    if (milestones === null) return false;
    const { shared } = milestones;
    const starts = shared?.starts.filter((one) => one.n !== n) ?? [];
    this.exchange.set(
      post,
      metric,
      shared === undefined ? milestones : { ...milestones, shared: { ...shared, starts } },
    );
    if (milestones.armed.length === 0) this.#release(post, metric, () => stamp);
    return true;
  }

  /**
   * Does what no operation may come to do: claims a home whose start other regions have reached, records what they have passed once all
   * have confirmed, and releases. To be called once in a while, and after a merge.
   */
  settle(post: string, metric: number, state: PostState): void {
    const milestones = this.bucket.milestones.get(post, metric);
    if (milestones?.shared === undefined) return;
    const total = computeTotal(state.metrics[metric]);
    const { replication } = this.bucket;
    const stamp = (): number => replication.now(0);
    this.#releaseIfOver(post, metric, milestones, total, stamp);
    this.#claimFrom(post, metric, total, stamp);
    recordMissed(this.bucket, post, state, metric);
    this.exchange.finalize(post, metric);
  }

  /**
   * Whether this region has confirmed an earlier home, which may still decide because it does not know of this one: then nothing is
   * counted before all have confirmed this one.
   */
  #isBound({ home, confirmations, isEffective }: SharedMilestones): boolean {
    if (home?.region !== this.exchange.region || isEffective || !this.rules.keepsConfirmation) return false;
    return confirmations.some(
      ({ region, home: earlier }) => region === this.exchange.region && earlier.mode === 'strict',
    );
  }

  /** Whether nothing may change the metric here, because an earlier home may still decide. */
  #mustWait(post: string, metric: number): boolean {
    const milestones = this.bucket.milestones.get(post, metric);
    if (milestones?.shared === undefined || !this.#isBound(milestones.shared)) return false;
    return !this.#becomesEffective(post, metric, milestones);
  }

  /** @returns whether all have confirmed the home, and notes it */
  #becomesEffective(post: string, metric: number, milestones: Milestones): boolean {
    const shared = milestones.shared!;
    if (!this.#hasAllConfirmations(shared)) return false;
    if (!shared.isEffective)
      this.exchange.set(post, metric, { ...milestones, shared: { ...shared, isEffective: true } });
    return true;
  }

  #hasAllConfirmations(shared: SharedMilestones): boolean {
    if (shared.home?.region !== this.exchange.region) return false;
    return this.bucket.peers.every((region) => this.#hasConfirmationOf(region, shared));
  }

  #hasConfirmationOf(region: string, shared: SharedMilestones): boolean {
    // An incarnation that has lost something may have lost another home.
    const isSynced = this.bucket.replication.state.syncedFrom.includes(region);
    if (this.rules.waitsForSync && !isSynced) return false;
    if (shared.home?.mode === 'order' && shared.isEffective) return true;
    return this.rules.hasConfirmationOf(this.bucket, region, shared);
  }

  #claimFrom(post: string, metric: number, total: number, stamp: () => number): void {
    const { home, starts } = this.exchange.get(post, metric);
    const { armed } = this.bucket.milestones.get(post, metric) ?? NO_MILESTONES;
    if (!starts.some(({ n, from }) => from <= total && armed.includes(n))) return;
    if (home?.region !== this.exchange.region || home.mode !== 'strict')
      this.exchange.setHome(post, metric, 'strict', stamp);
  }

  /** Later, if other regions have confirmed an earlier home that may still decide: they would count again. */
  #release(post: string, metric: number, stamp: () => number): void {
    const milestones = this.bucket.milestones.get(post, metric);
    const { home } = milestones?.shared ?? NOT_SHARED;
    if (milestones === undefined || home?.region !== this.exchange.region || home.mode === 'released') return;
    const mustWait = this.rules.waitsToRelease && this.#mustWait(post, metric);
    if (!mustWait) this.exchange.setHome(post, metric, 'released', stamp);
  }

  /** Releases once nothing is near: only far below the start, so that a total that goes up and down does not claim and release. */
  #releaseIfOver(
    post: string,
    metric: number,
    { shared, armed }: Milestones,
    total: number,
    stamp: () => number,
  ): void {
    const { home, starts } = shared!;
    const isNear = starts.some(({ n, from }) => armed.includes(n) && n - total < 2 * (n - from));
    if (home?.mode === 'strict' && !isNear) this.#release(post, metric, stamp);
  }
}
