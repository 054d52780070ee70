import { Backoff } from '../common/backoff.js';
import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import { type Incarnation, compareIncarnations } from '../counters/pn-counter.js';
import type { DeltaAck, Delta } from '../counters/replication/delta.js';
import type { ChangesRequest, BucketStatus, ReplicatedStore } from '../store/replicated-store.js';
import { CHANGES_MAX, type ChangeReader, type SharedRead } from './change-reader.js';
import { PeerLag } from './peer-lag.js';
import { LinkState } from './link-state.js';
import type { LinkStatus, Peer } from './transport/peer.js';
import { Rejections } from './rejections.js';
import { hasLostHistory, PeerProgress } from './peer-progress.js';
import { FullSync } from './full-sync.js';

/** Pauses after an exchange that failed. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 1_000;
const NONE: readonly number[] = [];

export interface PeerLinkOptions {
  readonly changeReader: ChangeReader;
  readonly random: () => number;
  readonly warn: (message: string) => void;
  /** This many buckets lack what the region knows, and are being filled. */
  readonly reportLostHistory: (buckets: number, region: string) => void;
  /** Up to where all peers have confirmed the bucket's changes. */
  readonly ackedUpTo: (bucket: number, own: Incarnation) => number;
  /** `null`: that is not known yet. */
  readonly leasedBuckets: () => readonly number[] | null;
  readonly peers: readonly string[];
  /** The peer takes nothing of some buckets, whose stamps are too far ahead of its clock. */
  readonly rewindClocks: () => Promise<void>;
}

/**
 * Brings the changes of the buckets that this gateway leads to one peer, at most every REPLICATION_INTERVAL_MS:
 *
 *     ask ──▶ receipt: it has this life up to w ──▶ changes after w ──▶ receipt …       newest state only, nothing is queued
 *              │                                     └─ too long ago: scan
 *              ├─ it has an older life, or none ──▶ scan: every post, then the end of it
 *              ├─ refused, or has more than there is ──▶ begin another life, ask again
 *              └─ its present life was not told all ──▶ scan
 *
 * Whatever fails is done again: the receipts say what is there.
 */
export class PeerLink {
  readonly #progress: PeerProgress;
  readonly #lag = new PeerLag();
  /** Buckets that were found to lack something, to be told of at once. */
  readonly #lost: number[] = [];
  #scan: FullSync | null = null;
  readonly #toScan = new Set<number>();
  readonly #state: LinkState;
  readonly #rejections: Rejections;
  readonly #backoff: Backoff;
  /** Exchanges that failed in a row. */
  #failures = 0;
  #closed = false;
  #ran: Promise<void> = Promise.resolve();
  readonly #stop = new AbortController();

  constructor(
    private readonly store: ReplicatedStore,
    private readonly peer: Peer,
    private readonly clock: Clock,
    private readonly options: PeerLinkOptions,
  ) {
    this.#backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, options.random);
    this.#progress = new PeerProgress(clock);
    this.#state = new LinkState(peer.region, clock, options.warn);
    this.#rejections = new Rejections(peer.region, options.warn);
  }

  get region(): string {
    return this.peer.region;
  }

  get up(): boolean {
    return this.#state.up;
  }

  /** What the peer has of the bucket, as it said last. */
  ack(bucket: number): DeltaAck | undefined {
    return this.#progress.ack(bucket);
  }

  /** See PeerProgress. */
  ackedUpTo(bucket: number, own: Incarnation): number {
    return this.#progress.ackedUpTo(bucket, own);
  }

  get status(): Omit<LinkStatus, 'rejections'> {
    const led = this.options.leasedBuckets();
    const lag = led && this.#lag.measure(led);
    return {
      region: this.region,
      up: this.up,
      sinceMs: this.#state.sinceMs,
      error: this.#state.error || this.#rejections.description,
      lagSeconds: lag && (lag.sinceMs === null ? 0 : (this.clock.nowMs() - lag.sinceMs) / 1000),
      lagChanges: lag && lag.changes,
      ...this.#state.counts,
      rejectedBuckets: this.#rejections.size,
    };
  }

  start(): void {
    this.#ran = this.#run();
  }

  /** Resolves when the peer has been told what was changed last, or is found not to be there. */
  close(): Promise<void> {
    this.#closed = true;
    this.#stop.abort();
    return this.#ran;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const startedAtMs = this.clock.nowMs();
      const more = await this.#tryRound();
      await sleep(this.clock, this.#nextAtMs(startedAtMs, more) - this.clock.nowMs(), this.#stop.signal);
    }
    if (this.up) await this.#tryRound();
  }

  #nextAtMs(startedAtMs: number, more: boolean | null): number {
    if (more === null) {
      this.#failures += 1;
      return startedAtMs + this.#backoff.pauseMs(this.#failures);
    }
    this.#failures = 0;
    return more ? startedAtMs : this.options.changeReader.nextAtMs(startedAtMs);
  }

  /** One exchange of everything that is due. @returns whether more is, at once; `null`: it failed */
  async #tryRound(): Promise<boolean | null> {
    try {
      const more = await this.#round();
      this.#state.set(true, '');
      return more;
    } catch (error) {
      this.#state.set(false, error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  async #round(): Promise<boolean> {
    const led = this.options.leasedBuckets() ?? NONE;
    this.#forgetOthers(led);
    const round = this.options.changeReader.joinRead(led);
    const standings = await round.bucketStatuses;
    const { shipments, more } = await this.#due(round, standings);
    if (shipments.length > 0) {
      const receipts = await this.peer.push(shipments);
      await this.#settle(shipments, receipts, standings);
    }
    return (await this.#scanOn(standings)) || more;
  }

  #forgetOthers(led: readonly number[]): void {
    const mine = new Set(led);
    for (const kept of [this.#lag, this.#progress, this.#rejections]) kept.keepOnly(mine);
    for (const bucket of this.#toScan) if (!mine.has(bucket)) this.#toScan.delete(bucket);
    for (const bucket of this.#scan?.buckets ?? []) if (!mine.has(bucket)) this.#scan?.drop(bucket);
  }

  /** What there is to say of each bucket: its changes; or, where the peer's state is not known or lately was not asked, a question. */
  async #due(
    round: SharedRead,
    standings: ReadonlyMap<number, BucketStatus>,
  ): Promise<{ shipments: Delta[]; more: boolean }> {
    const quiet = this.#progress.heartbeatsDue(standings);
    const asked = this.#asked(round.leasedBuckets, standings, quiet);
    const found = await round.changesSince(asked);
    const shipments: Delta[] = [];
    let more = false;
    for (const [i, { bucket }] of asked.entries()) {
      const shipment = found[i] ?? null;
      if (shipment === null) {
        this.#toScan.add(bucket);
        this.#lag.markBehind(bucket, CHANGES_MAX, this.clock.nowMs());
        continue;
      }
      const standing = standings.get(bucket)!;
      const fed = this.#isFed(bucket, standing);
      if (fed) this.#lag.setMissing(shipment, this.clock.nowMs());
      const isPart = fed && shipment.upTo < standing.clock;
      more ||= isPart && !this.#rejections.has(bucket);
      const isAsked = quiet.has(bucket);
      // It is offered again when others are asked.
      if (!isAsked && this.#rejections.has(bucket)) continue;
      if (isAsked || (fed && (isPart || shipment.posts.length > 0))) shipments.push(shipment);
      else if (fed) this.#progress.markUnchanged(bucket, shipment.upTo);
    }
    return { shipments, more };
  }

  /** Of buckets that nothing was done to since the peer was told nothing is asked until it is asked itself. */
  #asked(
    led: readonly number[],
    standings: ReadonlyMap<number, BucketStatus>,
    quiet: ReadonlySet<number>,
  ): ChangesRequest[] {
    const asked: ChangesRequest[] = [];
    for (const bucket of led) {
      const standing = standings.get(bucket)!;
      const fed = this.#isFed(bucket, standing);
      if (!fed && !this.#toScan.has(bucket)) this.#lag.markUnknown(bucket);
      if (!quiet.has(bucket) && (!fed || this.#progress.isUnchanged(bucket, standing.clock))) continue;
      const after = fed ? this.#progress.ack(bucket)!.upTo : standing.clock;
      asked.push({ bucket, after, ackedUpTo: this.options.ackedUpTo(bucket, standing) });
    }
    return asked;
  }

  /** Whether the peer has this life of the bucket, so that changes are all it needs. */
  #isFed(bucket: number, { epoch, nonce, backfilling: filling }: BucketStatus): boolean {
    const receipt = this.#progress.ack(bucket);
    return (
      receipt !== undefined &&
      !filling &&
      !this.#toScan.has(bucket) &&
      this.#scan?.has(bucket) !== true &&
      compareIncarnations(receipt, { epoch, nonce }) === 'same'
    );
  }

  async #settle(
    shipments: readonly Delta[],
    receipts: readonly DeltaAck[],
    standings: ReadonlyMap<number, BucketStatus>,
  ): Promise<void> {
    for (const [i, receipt] of receipts.entries()) {
      const shipment = shipments[i]!;
      const standing = standings.get(shipment.bucket)!;
      // Collected after another life has begun: the next round knows of it.
      if (compareIncarnations(shipment.source, standing) !== 'same') continue;
      if (receipt.incarnationRejected) this.#state.counts.rejectedDeltas += 1;
      if (receipt.incarnationRejected || receipt.rejection !== undefined) this.#scan?.drop(shipment.bucket);
      this.#progress.set(shipment.bucket, receipt);
      if (receipt.rejection !== undefined) continue;
      const hasAll = compareIncarnations(receipt, standing) === 'same' && shipment.upTo <= receipt.upTo;
      if (hasAll && shipment.upTo >= standing.clock) this.#lag.markCaughtUp(shipment.bucket);
      // What was counted between the look at the standings and the collecting is in the shipment.
      const clock = Math.max(standing.clock, shipment.upTo);
      await this.#answer(shipment.bucket, receipt, { ...standing, clock });
    }
    const lost = this.#lost.splice(0).length;
    if (lost > 0) this.options.reportLostHistory(lost, this.region);
    if (this.#rejections.record(receipts).length > 0) await this.options.rewindClocks();
  }

  async #answer(bucket: number, receipt: DeltaAck, standing: BucketStatus): Promise<void> {
    const sameLife = compareIncarnations(receipt, standing) === 'same';
    if (receipt.incarnationRejected || (sameLife && receipt.upTo > standing.clock)) {
      await this.#begin(bucket, receipt, standing, sameLife);
      return;
    }
    if (
      !sameLife &&
      !standing.backfilling &&
      receipt.epoch > 0 &&
      hasLostHistory(receipt, standing, this.store.losesCommitsOnFailover)
    ) {
      this.#lost.push(bucket);
      await this.store.startIncarnation([bucket], {
        epoch: 0,
        clock: receipt.upTo,
        needsBackfill: true,
        rewindsClock: false,
      });
      this.options.changeReader.invalidate();
      return;
    }
    if (this.#scan?.has(bucket) === true) return;
    const isAsked = !receipt.fullySynced && (sameLife || receipt.backfilling);
    if (isAsked || (!sameLife && !standing.backfilling)) this.#toScan.add(bucket);
  }

  async #begin(bucket: number, receipt: DeltaAck, before: BucketStatus, sameLife: boolean): Promise<void> {
    const [standing] = await this.store.bucketStatus([bucket]);
    // Another life has begun while this one's shipment was on its way, or another gateway has shipped for it.
    if (standing === undefined || compareIncarnations(standing, before) !== 'same') return;
    if (!receipt.incarnationRejected && receipt.upTo <= standing.clock) return;
    // Of the same life either more is known than there is; or it is refused for its stamps alone.
    const fills = receipt.incarnationRejected
      ? hasLostHistory(receipt, standing, this.store.losesCommitsOnFailover)
      : true;
    const epoch = receipt.incarnationRejected && sameLife ? 0 : receipt.epoch;
    this.#state.counts.incarnationsStarted += 1;
    if (fills) this.#lost.push(bucket);
    await this.store.startIncarnation([bucket], {
      epoch,
      clock: receipt.upTo,
      needsBackfill: fills,
      rewindsClock: false,
    });
    this.options.changeReader.invalidate();
    this.#progress.delete(bucket);
  }

  /** The next page of the scan that is under way, or of another. @returns whether there is one */
  async #scanOn(standings: ReadonlyMap<number, BucketStatus>): Promise<boolean> {
    if (this.#scan === null) {
      const buckets = [...this.#toScan].filter((bucket) => standings.has(bucket) && this.#progress.has(bucket));
      if (buckets.length === 0) return false;
      this.#toScan.clear();
      this.#state.counts.fullSyncs += 1;
      const lives = new Map(buckets.map((bucket) => [bucket, standings.get(bucket)!]));
      this.#scan = new FullSync(this.store, this.region, lives, this.#progress, this.options.peers);
    }
    const scan = this.#scan;
    try {
      const { shipments, done } = await scan.nextPage();
      const receipts = shipments.length === 0 ? [] : await this.peer.push(shipments);
      if (done) this.#scan = null;
      await this.#settle(shipments, receipts, standings);
      // Where nothing could be shown there is nothing to be done at once.
      return !done;
    } catch (error) {
      // From the beginning: the receiver may be another, too.
      for (const bucket of scan.buckets) this.#toScan.add(bucket);
      this.#scan = null;
      throw error;
    }
  }
}
