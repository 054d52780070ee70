import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import { type Life, orderOf } from '../counters/pn-counter.js';
import type { Receipt, Shipment } from '../counters/replication/delta.js';
import type { Asked, BucketStanding, ReplicatedStore } from '../store/replicated-store.js';
import { CHANGES_MAX, type ChangeReader, type Round } from './change-reader.js';
import { PeerLag } from './peer-lag.js';
import { LinkState } from './link-state.js';
import type { LinkStatus, Peer } from './transport/peer.js';
import { Rejections } from './rejections.js';
import { lacks, PeerProgress } from './peer-progress.js';
import { FullSync } from './full-sync.js';

/** Pauses after a call that failed: doubled up to the last, half of it random. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 1_000;
const NONE: readonly number[] = [];

export interface PeerLinkOptions {
  readonly collector: ChangeReader;
  readonly random: () => number;
  readonly warn: (message: string) => void;
  /** This many buckets lack what the region knows, and are being filled. */
  readonly lost: (buckets: number, region: string) => void;
  /** Up to where all peers have confirmed the bucket's changes. */
  readonly confirmed: (bucket: number, own: Life) => number;
  /** `null`: that is not known yet. */
  readonly led: () => readonly number[] | null;
  readonly peers: readonly string[];
  /** The peer takes nothing of some buckets, whose stamps are too far ahead of its clock. */
  readonly ahead: () => Promise<void>;
}

/**
 * Brings the changes of the buckets that this gateway leads to one peer, at most every SHIP_MS:
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
  readonly #remotes: PeerProgress;
  readonly #lag = new PeerLag();
  /** Buckets that were found to lack something, to be told of at once. */
  readonly #lost: number[] = [];
  #scan: FullSync | null = null;
  readonly #toScan = new Set<number>();
  readonly #state: LinkState;
  readonly #rejections: Rejections;
  #pauseMs = RETRY_MIN_MS;
  #closed = false;
  #ran: Promise<void> = Promise.resolve();
  readonly #stop = new AbortController();

  constructor(
    private readonly store: ReplicatedStore,
    private readonly peer: Peer,
    private readonly clock: Clock,
    private readonly options: PeerLinkOptions,
  ) {
    this.#remotes = new PeerProgress(clock);
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
  receipt(bucket: number): Receipt | undefined {
    return this.#remotes.receipt(bucket);
  }

  /** See PeerProgress. */
  confirmed(bucket: number, own: Life): number {
    return this.#remotes.confirmed(bucket, own);
  }

  get status(): Omit<LinkStatus, 'rejections'> {
    const led = this.options.led();
    const lag = led && this.#lag.of(led);
    return {
      region: this.region,
      up: this.up,
      sinceMs: this.#state.sinceMs,
      error: this.#state.error || this.#rejections.text,
      lagSeconds: lag && (lag.sinceMs === null ? 0 : (this.clock.nowMs() - lag.sinceMs) / 1000),
      lagPosts: lag && lag.things,
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
      const retryAtMs = startedAtMs + this.#pauseMs * (0.5 + this.options.random() / 2);
      const nextAtMs = more === null ? retryAtMs : more ? startedAtMs : this.options.collector.nextAtMs(startedAtMs);
      this.#pauseMs = more === null ? Math.min(2 * this.#pauseMs, RETRY_MAX_MS) : RETRY_MIN_MS;
      await sleep(this.clock, nextAtMs - this.clock.nowMs(), this.#stop.signal);
    }
    if (this.up) await this.#tryRound();
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
    const led = this.options.led() ?? NONE;
    this.#forgetOthers(led);
    const round = this.options.collector.round(led);
    const standings = await round.standings;
    const { shipments, more } = await this.#due(round, standings);
    if (shipments.length > 0) {
      const receipts = await this.peer.ship(shipments);
      await this.#settle(shipments, receipts, standings);
    }
    return (await this.#scanOn(standings)) || more;
  }

  #forgetOthers(led: readonly number[]): void {
    const mine = new Set(led);
    for (const kept of [this.#lag, this.#remotes, this.#rejections]) kept.keepOnly(mine);
    for (const bucket of this.#toScan) if (!mine.has(bucket)) this.#toScan.delete(bucket);
    for (const bucket of this.#scan?.buckets ?? []) if (!mine.has(bucket)) this.#scan?.drop(bucket);
  }

  /** What there is to say of each bucket: its changes; or, where the peer's state is not known or lately was not asked, a question. */
  async #due(
    round: Round,
    standings: ReadonlyMap<number, BucketStanding>,
  ): Promise<{ shipments: Shipment[]; more: boolean }> {
    const quiet = this.#remotes.quiet(standings);
    const asked = this.#asked(round.led, standings, quiet);
    const found = await round.collect(asked);
    const shipments: Shipment[] = [];
    let more = false;
    for (const [i, { bucket }] of asked.entries()) {
      const shipment = found[i] ?? null;
      if (shipment === null) {
        this.#toScan.add(bucket);
        this.#lag.late(bucket, CHANGES_MAX, this.clock.nowMs());
        continue;
      }
      const standing = standings.get(bucket)!;
      const fed = this.#isFed(bucket, standing);
      if (fed) this.#lag.due(shipment, this.clock.nowMs());
      const isPart = fed && shipment.upTo < standing.clock;
      more ||= isPart && !this.#rejections.has(bucket);
      const isAsked = quiet.has(bucket);
      // It is offered again when others are asked.
      if (!isAsked && this.#rejections.has(bucket)) continue;
      if (isAsked || (fed && (isPart || shipment.posts.length > 0))) shipments.push(shipment);
      else if (fed) this.#remotes.same(bucket, shipment.upTo);
    }
    return { shipments, more };
  }

  /** Of buckets that nothing was done to since the peer was told nothing is asked until it is asked itself. */
  #asked(led: readonly number[], standings: ReadonlyMap<number, BucketStanding>, quiet: ReadonlySet<number>): Asked[] {
    const asked: Asked[] = [];
    for (const bucket of led) {
      const standing = standings.get(bucket)!;
      const fed = this.#isFed(bucket, standing);
      if (!fed && !this.#toScan.has(bucket)) this.#lag.forget(bucket);
      if (!quiet.has(bucket) && (!fed || this.#remotes.isSame(bucket, standing.clock))) continue;
      const after = fed ? this.#remotes.receipt(bucket)!.upTo : standing.clock;
      asked.push({ bucket, after, confirmed: this.options.confirmed(bucket, standing) });
    }
    return asked;
  }

  /** Whether the peer has this life of the bucket, so that changes are all it needs. */
  #isFed(bucket: number, { epoch, nonce, filling }: BucketStanding): boolean {
    const receipt = this.#remotes.receipt(bucket);
    return (
      receipt !== undefined &&
      !filling &&
      !this.#toScan.has(bucket) &&
      this.#scan?.has(bucket) !== true &&
      orderOf(receipt, { epoch, nonce }) === 'same'
    );
  }

  async #settle(
    shipments: readonly Shipment[],
    receipts: readonly Receipt[],
    standings: ReadonlyMap<number, BucketStanding>,
  ): Promise<void> {
    for (const [i, receipt] of receipts.entries()) {
      const shipment = shipments[i]!;
      const standing = standings.get(shipment.bucket)!;
      // Collected after another life has begun: the next round knows of it.
      if (orderOf(shipment.source, standing) !== 'same') continue;
      if (receipt.refused) this.#state.counts.refusals += 1;
      if (receipt.refused || receipt.rejection !== undefined) this.#scan?.drop(shipment.bucket);
      this.#remotes.set(shipment.bucket, receipt);
      if (receipt.rejection !== undefined) continue;
      const hasAll = orderOf(receipt, standing) === 'same' && shipment.upTo <= receipt.upTo;
      if (hasAll && shipment.upTo >= standing.clock) this.#lag.caughtUp(shipment.bucket);
      // What was counted between the look at the standings and the collecting is in the shipment.
      const clock = Math.max(standing.clock, shipment.upTo);
      await this.#answer(shipment.bucket, receipt, { ...standing, clock });
    }
    const lost = this.#lost.splice(0).length;
    if (lost > 0) this.options.lost(lost, this.region);
    if (this.#rejections.note(receipts).length > 0) await this.options.ahead();
  }

  async #answer(bucket: number, receipt: Receipt, standing: BucketStanding): Promise<void> {
    const sameLife = orderOf(receipt, standing) === 'same';
    if (receipt.refused || (sameLife && receipt.upTo > standing.clock)) {
      await this.#begin(bucket, receipt, standing, sameLife);
      return;
    }
    if (!sameLife && !standing.filling && receipt.epoch > 0 && lacks(receipt, standing, this.store.replays)) {
      this.#lost.push(bucket);
      await this.store.begin([bucket], { epoch: 0, clock: receipt.upTo, fills: true, comesBack: false });
      this.options.collector.forget();
      return;
    }
    if (this.#scan?.has(bucket) === true) return;
    const isAsked = !receipt.told && (sameLife || receipt.filling);
    if (isAsked || (!sameLife && !standing.filling)) this.#toScan.add(bucket);
  }

  async #begin(bucket: number, receipt: Receipt, before: BucketStanding, sameLife: boolean): Promise<void> {
    const [standing] = await this.store.standing([bucket]);
    // Another life has begun while this one's shipment was on its way, or another gateway has shipped for it.
    if (standing === undefined || orderOf(standing, before) !== 'same') return;
    if (!receipt.refused && receipt.upTo <= standing.clock) return;
    // Of the same life either more is known than there is; or it is refused for its stamps alone.
    const fills = receipt.refused ? lacks(receipt, standing, this.store.replays) : true;
    const epoch = receipt.refused && sameLife ? 0 : receipt.epoch;
    this.#state.counts.epochBumps += 1;
    if (fills) this.#lost.push(bucket);
    await this.store.begin([bucket], { epoch, clock: receipt.upTo, fills, comesBack: false });
    this.options.collector.forget();
    this.#remotes.delete(bucket);
  }

  /** The next page of the scan that is under way, or of another. @returns whether there is one */
  async #scanOn(standings: ReadonlyMap<number, BucketStanding>): Promise<boolean> {
    if (this.#scan === null) {
      const buckets = [...this.#toScan].filter((bucket) => standings.has(bucket) && this.#remotes.has(bucket));
      if (buckets.length === 0) return false;
      this.#toScan.clear();
      this.#state.counts.scans += 1;
      const lives = new Map(buckets.map((bucket) => [bucket, standings.get(bucket)!]));
      this.#scan = new FullSync(this.store, this.region, lives, this.#remotes, this.options.peers);
    }
    const scan = this.#scan;
    try {
      const { shipments, done } = await scan.next();
      const receipts = shipments.length === 0 ? [] : await this.peer.ship(shipments);
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
