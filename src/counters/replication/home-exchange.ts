import type { Metrics } from '../metrics.js';
import {
  type HomeConfirmation,
  type HomeMode,
  isKnownFinal,
  MERGED_RECORDS_MAX,
  type MilestoneHome,
  type Milestones,
  NO_MILESTONES,
  NOT_SHARED,
  type ReachedMilestone,
  type SharedMilestones,
} from '../milestones.js';
import { compareIncarnations } from '../pn-counter.js';
import type { HomeDelta } from './delta.js';
import { type HomeRules, type HomesBucket, isHigher } from './home-rules.js';

/** Homes whose marks may matter: that many changes of the home within the time that marks are kept. */
export const FORMER_HOMES_MAX = 4;

/** Exchanges the homes of a bucket's metrics with other regions: which there are, which regions have confirmed them, and what was decided. */
export class HomeExchange {
  constructor(
    private readonly bucket: HomesBucket,
    private readonly metrics: Metrics,
    private readonly rules: HomeRules,
  ) {}

  get region(): string {
    return this.bucket.incarnation.region;
  }

  get(post: string, metric: number): SharedMilestones {
    return this.bucket.milestones.get(post, metric)?.shared ?? NOT_SHARED;
  }

  set(post: string, metric: number, milestones: Milestones): void {
    this.bucket.milestones.set(post, metric, milestones, []);
  }

  /** Builds the part of a post's delta about homes. @param all in a full sync: also what others have confirmed */
  build(post: string, all: boolean): HomeDelta[] {
    const { milestones, replication, incarnation } = this.bucket;
    if (milestones.isEmpty) return [];
    return this.metrics.list.flatMap(({ index: metric }) => {
      const shared = milestones.get(post, metric)?.shared;
      if (shared?.home === undefined || shared.home === null) return [];
      const confirmations = shared.confirmations.flatMap((one): HomeConfirmation[] => {
        if (one.region !== this.region) return all ? [one] : [];
        // Counts that come back from other regions would be counted after it.
        return replication.state.backfilling
          ? []
          : [{ ...one, ...incarnation, stamp: Math.min(one.stamp, replication.state.clock) }];
      });
      return [{ metric, home: shared.home, confirmations, reached: milestones.get(post, metric)!.reached }];
    });
  }

  /** To be called with what another region ships, after its counts were merged. */
  merge(post: string, { metric, home, confirmations, reached }: HomeDelta): void {
    if (this.rules.honoursDecided) this.#mergeReached(post, metric, reached);
    for (const confirmation of confirmations) this.#mergeConfirmation(post, metric, confirmation);
    const known = this.get(post, metric).home;
    if (home === null || !isHigher(home, known)) return;
    const { milestones } = this.bucket;
    const own = milestones.get(post, metric) ?? NO_MILESTONES;
    const shared = { ...this.get(post, metric), home, isEffective: false };
    if (home.region === this.region) return this.set(post, metric, { ...own, shared });
    const forwardedTo = [home.region, ...shared.forwardedTo.filter((one) => one !== home.region)].slice(
      0,
      FORMER_HOMES_MAX,
    );
    this.set(post, metric, { ...own, armed: [], shared: { ...shared, starts: [], forwardedTo } });
    if (this.rules.yieldsChoices && home.mode === 'strict') this.#yieldOptions(post, metric, home);
    this.#confirm(post, metric, home);
  }

  /**
   * Drops what is armed here in `strict` for other options of a choice, if the home of this one comes first. With homes in two regions, each
   * would forward an operation that changes both options to the other one, and nobody would do it. The other region compares the same two
   * homes, so one of them yields. `settle` releases its home.
   */
  #yieldOptions(post: string, metric: number, home: MilestoneHome): void {
    for (const other of this.metrics.otherOptions[metric]!) {
      const { shared = NOT_SHARED, ...own } = this.bucket.milestones.get(post, other) ?? NO_MILESTONES;
      const isHome = shared.home?.region === this.region && shared.home.mode === 'strict';
      if (shared.starts.length === 0 || (isHome && !isHigher(home, shared.home))) continue;
      this.set(post, other, { ...own, armed: [], shared: { ...shared, starts: [] } });
    }
  }

  /** Ships what is confirmed again, because it was held back while lost counts came back. */
  shipAgain(posts: Iterable<string>): void {
    const { replication } = this.bucket;
    for (const post of posts) if (this.build(post, false).length > 0) replication.recordCount(post, replication.now(0));
    this.bucket.persistReplication();
  }

  setHome(post: string, metric: number, mode: HomeMode, stamp: () => number): void {
    const shared = this.get(post, metric);
    const home = { region: this.region, number: (shared.home?.number ?? 0) + 1, mode };
    const own = this.bucket.milestones.get(post, metric) ?? NO_MILESTONES;
    // No earlier home that this region has confirmed can decide any more.
    const isOver = ({ region }: HomeConfirmation): boolean => mode === 'released' && region === this.region;
    const confirmations = shared.confirmations.filter((one) => !isOver(one));
    this.set(post, metric, { ...own, shared: { ...shared, home, isEffective: false, confirmations } });
    this.bucket.changes.recordCount(post, stamp());
  }

  #confirm(post: string, metric: number, home: MilestoneHome): void {
    const { incarnation, replication } = this.bucket;
    const stamp = replication.now(0);
    this.#setConfirmation(post, metric, { ...incarnation, home, stamp });
    replication.recordCount(post, stamp);
  }

  /**
   * Keeps records of other regions, up to MERGED_RECORDS_MAX in all: those that name somebody first, and of these the least n, so that all
   * regions keep the same. A region never leaves out its own. What is decided anywhere is armed nowhere.
   */
  #mergeReached(post: string, metric: number, theirs: readonly ReachedMilestone[]): void {
    const own = this.bucket.milestones.get(post, metric) ?? NO_MILESTONES;
    const isKnown = (one: ReachedMilestone): boolean =>
      own.reached.some(({ n, isFinal }) => n === one.n && (isFinal === true || one.isFinal !== true));
    const isFirst = (one: ReachedMilestone): boolean => own.reached.every(({ n }) => n !== one.n);
    const room = Math.max(MERGED_RECORDS_MAX - own.reached.length, 0);
    const kept = theirs.filter(isFirst).sort(compareRecords).slice(0, room);
    const news = theirs.filter((one) => (isFirst(one) ? kept.includes(one) : !isKnown(one)));
    if (news.length === 0) return;
    const isReplaced = (n: number): boolean => news.some((one) => one.n === n);
    const others = own.reached.filter(({ n }) => !isReplaced(n));
    const armed = own.armed.filter((n) => !isReplaced(n));
    const { milestones, changedPosts } = this.bucket;
    milestones.set(post, metric, { ...own, armed, reached: [...others, ...news] }, news.filter(isFirst));
    const final = news.filter((one) => one.isFinal === true);
    if (final.length > 0) changedPosts?.recordMilestones(post, metric, final);
  }

  /** Has other regions know which of the own records are final. */
  finalize(post: string, metric: number): void {
    const { milestones, replication } = this.bucket;
    const own = milestones.get(post, metric)!;
    const isDue = (one: ReachedMilestone): boolean =>
      one.isFinal !== true && isKnownFinal(one, this.region, milestones);
    if (!own.reached.some(isDue)) return;
    const reached = own.reached.map((one) => (isDue(one) ? { ...one, isFinal: true as const } : one));
    this.set(post, metric, { ...own, reached });
    this.bucket.changes.recordCount(post, replication.now(0));
  }

  #mergeConfirmation(post: string, metric: number, theirs: HomeConfirmation): void {
    const { region } = theirs;
    if (region === this.region || !this.bucket.replication.hasRoomFor(region)) return;
    const known = this.get(post, metric).confirmations.find((one) => one.region === region);
    if (known === undefined || this.#isLater(theirs, known)) this.#setConfirmation(post, metric, theirs);
  }

  #isLater(theirs: HomeConfirmation, known: HomeConfirmation): boolean {
    switch (compareIncarnations(theirs, known)) {
      case 'newer':
        return true;
      case 'same':
        return isHigher(theirs.home, known.home) || theirs.stamp > known.stamp;
      case 'clash':
        // Two incarnations took the same epoch by mistake. The one that went on is known from the region itself.
        return compareIncarnations(theirs, this.bucket.replication.latestIncarnation(theirs.region)) === 'same';
      default:
        return false;
    }
  }

  #setConfirmation(post: string, metric: number, confirmation: HomeConfirmation): void {
    const own = this.bucket.milestones.get(post, metric) ?? NO_MILESTONES;
    const shared = this.get(post, metric);
    const others = shared.confirmations.filter(({ region }) => region !== confirmation.region);
    this.set(post, metric, { ...own, shared: { ...shared, confirmations: [...others, confirmation] } });
  }
}

/** The order in which records are taken over where there is no room for all. */
function compareRecords(a: ReachedMilestone, b: ReachedMilestone): number {
  return Number(a.missed) - Number(b.missed) || a.n - b.n;
}
