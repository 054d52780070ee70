import type { Clock } from '../clock.js';
import { type Life, orderOf } from '../counters/pn-counter.js';
import type { Receipt, Shipment } from '../counters/shipment.js';
import { wallMsOf } from '../counters/stamp.js';
import type { BucketStanding, RegionalStore } from '../store/regional-store.js';
import { Lag } from './lag.js';
import type { LinkStatus, Peer } from './peer.js';
import { Scan } from './scan.js';

/** Changes of a bucket that one exchange carries: about 20 KB. */
const CHANGES_MAX = 1_000;
/** A bucket that has nothing to tell asks this often whether its peer still has what it had. */
const HEARTBEAT_MS = 1_000;
/** Pauses after a call that failed: doubled up to the last, half of it random. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 1_000;
/**
 * What a store has lost and gateways have sent again is 20 s old at most (they retain it that long). A store that lacks more
 * comes from a backup, and its peers know better.
 */
const REPLAYED_MS = 30_000;

/** What is known of a bucket at the peer. */
interface Remote {
  /** What the peer has of this region, of the life that it names. */
  readonly receipt: Receipt;
  readonly atMs: number;
}

export interface LinkOptions {
  readonly shipMs: number;
  readonly random: () => number;
  readonly warn: (message: string) => void;
  /** Up to where all peers have confirmed the bucket's changes. */
  readonly confirmed: (bucket: number, own: Life) => number;
  readonly led: () => readonly number[];
  readonly peers: readonly string[];
}

/**
 * Brings the changes of the buckets that this gateway leads to one peer, at most every SHIP_MS:
 *
 *     ask ──▶ receipt: it has this life up to w ──▶ changes after w ──▶ receipt …       newest state only, nothing is queued
 *              │                                     └─ too long ago: scan
 *              ├─ it has an older life, or none ──▶ scan: every post, then the end of it
 *              ├─ refused, or has more than there is ──▶ begin another life, ask again
 *              └─ it has begun another life, or is filling what it lost ──▶ scan
 *
 * Whatever fails is done again: the receipts say what is there.
 */
export class Link {
  readonly #remotes = new Map<number, Remote>();
  readonly #lag = new Lag();
  /** Buckets that were found to lack something, to be told of at once. */
  readonly #lost: number[] = [];
  #scan: Scan | null = null;
  readonly #toScan = new Set<number>();
  readonly #counts = { refusals: 0, epochBumps: 0, scans: 0 };
  #up = false;
  #changedAtMs: number | null = null;
  #error = '';
  #pauseMs = RETRY_MIN_MS;
  #closed = false;

  constructor(
    private readonly store: RegionalStore,
    private readonly peer: Peer,
    private readonly clock: Clock,
    private readonly options: LinkOptions,
  ) {}

  get region(): string {
    return this.peer.region;
  }

  get up(): boolean {
    return this.#up;
  }

  /** Up to where the peer has confirmed what this life of the bucket has changed; 0 if that is not known. */
  confirmed(bucket: number, own: Life): number {
    const receipt = this.#remotes.get(bucket)?.receipt;
    return receipt !== undefined && orderOf(receipt, own) === 'same' ? receipt.upTo : 0;
  }

  get status(): LinkStatus {
    const { sinceMs, things } = this.#lag;
    return {
      region: this.region,
      up: this.#up,
      sinceMs: this.#changedAtMs,
      error: this.#error,
      lagSeconds: sinceMs === null ? 0 : (this.clock.nowMs() - sinceMs) / 1000,
      lagPosts: things,
      ...this.#counts,
    };
  }

  async run(): Promise<void> {
    while (!this.#closed) {
      const startedAtMs = this.clock.nowMs();
      const more = await this.#tryRound();
      const pauseMs =
        more === null ? this.#pauseMs * (0.5 + this.options.random() / 2) : more ? 0 : this.options.shipMs;
      if (more === null) this.#pauseMs = Math.min(2 * this.#pauseMs, RETRY_MAX_MS);
      else this.#pauseMs = RETRY_MIN_MS;
      await this.#pause(startedAtMs + pauseMs - this.clock.nowMs());
    }
  }

  close(): void {
    this.#closed = true;
  }

  /** One exchange of everything that is due. @returns whether more is, at once; `null`: it failed */
  async #tryRound(): Promise<boolean | null> {
    try {
      const more = await this.#round();
      this.#state(true, '');
      return more;
    } catch (error) {
      this.#state(false, error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  #state(up: boolean, error: string): void {
    this.#error = error;
    if (this.#up === up && this.#changedAtMs !== null) return;
    this.#up = up;
    this.#changedAtMs = this.clock.wallMs();
    this.options.warn(up ? `region ${this.region} is reached` : `region ${this.region} is away: ${error}`);
  }

  async #round(): Promise<boolean> {
    const led = this.options.led();
    this.#forgetOthers(led);
    const standings = new Map<number, BucketStanding>();
    for (const [i, standing] of (await this.store.standing(led)).entries()) standings.set(led[i]!, standing);
    const { shipments, more } = await this.#due(led, standings);
    if (shipments.length > 0) {
      const receipts = await this.peer.ship(shipments);
      await this.#settle(shipments, receipts, standings);
    }
    const scanning = await this.#scanOn(standings);
    return more || scanning;
  }

  #forgetOthers(led: readonly number[]): void {
    const mine = new Set(led);
    this.#lag.keepOnly(mine);
    for (const bucket of this.#remotes.keys()) if (!mine.has(bucket)) this.#remotes.delete(bucket);
    for (const bucket of this.#toScan) if (!mine.has(bucket)) this.#toScan.delete(bucket);
  }

  /** What there is to say of each bucket: its changes; or, where the peer's state is not known or lately was not asked, a question. */
  async #due(
    led: readonly number[],
    standings: ReadonlyMap<number, BucketStanding>,
  ): Promise<{ shipments: Shipment[]; more: boolean }> {
    const asked = led.map((bucket) => {
      const standing = standings.get(bucket)!;
      const after = this.#isFed(bucket, standing) ? this.#remotes.get(bucket)!.receipt.upTo : standing.clock;
      return { bucket, after, confirmed: this.options.confirmed(bucket, standing) };
    });
    const found = await this.store.collect(asked, this.options.peers, CHANGES_MAX);
    const shipments: Shipment[] = [];
    let more = false;
    for (const [i, { bucket, after }] of asked.entries()) {
      const shipment = found[i] ?? null;
      if (shipment === null) {
        this.#toScan.add(bucket);
        this.#lag.late(bucket, CHANGES_MAX, this.clock.nowMs());
        continue;
      }
      const fed = this.#isFed(bucket, standings.get(bucket)!);
      if (fed) this.#lag.due(shipment, this.clock.nowMs());
      more ||= fed && shipment.upTo < standings.get(bucket)!.clock;
      if ((fed && shipment.upTo > after) || this.#isQuiet(bucket)) shipments.push(shipment);
    }
    return { shipments, more };
  }

  /** Whether the peer has this life of the bucket, so that changes are all it needs. */
  #isFed(bucket: number, { epoch, nonce, filling }: BucketStanding): boolean {
    const remote = this.#remotes.get(bucket);
    return (
      remote !== undefined &&
      !filling &&
      !this.#toScan.has(bucket) &&
      this.#scan?.has(bucket) !== true &&
      orderOf(remote.receipt, { epoch, nonce }) === 'same'
    );
  }

  #isQuiet(bucket: number): boolean {
    const remote = this.#remotes.get(bucket);
    return remote === undefined || this.clock.nowMs() - remote.atMs >= HEARTBEAT_MS;
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
      if (receipt.refused) this.#counts.refusals += 1;
      const before = this.#remotes.get(shipment.bucket)?.receipt;
      this.#remotes.set(shipment.bucket, { receipt, atMs: this.clock.nowMs() });
      if (shipment.upTo <= receipt.upTo && shipment.upTo >= standing.clock) this.#lag.caughtUp(shipment.bucket);
      // What was counted between the look at the standings and the collecting is in the shipment.
      const clock = Math.max(standing.clock, shipment.upTo);
      await this.#answer(shipment.bucket, receipt, before, { ...standing, clock });
    }
    const lost = this.#lost.splice(0).length;
    if (lost > 0)
      this.options.warn(`${lost} buckets lack what region ${this.region} knows: they are filled from the others`);
  }

  async #answer(
    bucket: number,
    receipt: Receipt,
    before: Receipt | undefined,
    standing: BucketStanding,
  ): Promise<void> {
    const sameLife = orderOf(receipt, standing) === 'same';
    if (receipt.refused || (sameLife && receipt.upTo > standing.clock)) {
      await this.#begin(bucket, receipt, standing, sameLife);
      return;
    }
    if (!sameLife && !standing.filling && receipt.epoch > 0 && this.#lacks(receipt, standing)) {
      this.#lost.push(bucket);
      await this.store.begin([bucket], { epoch: 0, clock: receipt.upTo, fills: true });
      return;
    }
    const changed = before !== undefined && orderOf(before.receiver, receipt.receiver) !== 'same';
    if (this.#scan?.has(bucket) === true && !changed) return;
    const asksToFill = receipt.filling && before?.filling !== true;
    if ((!sameLife && !standing.filling) || changed || asksToFill) this.#toScan.add(bucket);
  }

  /** Whether the peer knows of more than what a failover loses and gateways send again. */
  #lacks(receipt: Receipt, { found }: BucketStanding): boolean {
    return wallMsOf(receipt.upTo) - wallMsOf(found) > (this.store.replays ? REPLAYED_MS : 0);
  }

  async #begin(bucket: number, receipt: Receipt, before: BucketStanding, sameLife: boolean): Promise<void> {
    const [standing] = await this.store.standing([bucket]);
    // Another life has begun while this one's shipment was on its way, or another gateway has shipped for it.
    if (standing === undefined || orderOf(standing, before) !== 'same') return;
    if (!receipt.refused && receipt.upTo <= standing.clock) return;
    // Of the same life either more is known than there is; or it is refused for its stamps alone.
    const fills = receipt.refused ? this.#lacks(receipt, standing) : true;
    const epoch = receipt.refused && sameLife ? 0 : receipt.epoch;
    this.#counts.epochBumps += 1;
    if (fills) this.#lost.push(bucket);
    await this.store.begin([bucket], { epoch, clock: receipt.upTo, fills });
    this.#remotes.delete(bucket);
  }

  /** The next page of the scan that is under way, or of another. @returns whether there is one */
  async #scanOn(standings: ReadonlyMap<number, BucketStanding>): Promise<boolean> {
    if (this.#scan === null) {
      const buckets = [...this.#toScan].filter((bucket) => standings.has(bucket) && this.#remotes.has(bucket));
      if (buckets.length === 0) return false;
      this.#toScan.clear();
      this.#counts.scans += 1;
      const scanned = buckets.map((bucket) => {
        const { receiver } = this.#remotes.get(bucket)!.receipt;
        return [bucket, { own: standings.get(bucket)!, receiver }] as const;
      });
      this.#scan = new Scan(this.store, this.region, new Map(scanned), this.options.peers);
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

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (ms > 0) this.clock.after(ms, resolve);
      else this.clock.soon(resolve);
    });
  }
}
