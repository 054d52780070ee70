import { Backoff } from '../common/backoff.js';
import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { Incarnation } from '../counters/pn-counter.js';
import type { DeltaAck } from '../counters/replication/delta.js';
import type { BucketStatus, ReplicatedStore } from '../store/replicated-store.js';
import { AckHandler, type AckHandlerOptions } from './ack-handler.js';
import { DeltaPlanner } from './delta-planner.js';
import { LinkState } from './link-state.js';
import { PeerBuckets } from './peer-buckets.js';
import type { LinkStatus, Peer } from './transport/peer.js';

/** Pauses before a failed exchange is retried. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 1_000;
const NO_BUCKETS: readonly number[] = [];

export interface PeerLinkOptions extends AckHandlerOptions {
  readonly random: () => number;
  readonly warn: (message: string) => void;
  /** The stamp up to which all peers have acked the bucket. */
  readonly ackedUpTo: (bucket: number, own: Incarnation) => number;
  /** `null`: unknown yet. */
  readonly leasedBuckets: () => readonly number[] | null;
  /** The names of all peers. */
  readonly peers: readonly string[];
}

/**
 * Pushes the changes of the buckets that this gateway leases to one peer, at most every REPLICATION_INTERVAL_MS:
 *
 *     heartbeat ──▶ ack: it has this incarnation up to w ──▶ changes after w ──▶ ack …      latest state only, no queue
 *                    │                                        └─ too many: full sync
 *                    ├─ it has an older incarnation, or none ──▶ full sync: every post, then its end
 *                    ├─ rejected, or it has more than this store ──▶ start another incarnation, heartbeat again
 *                    └─ its current incarnation was not fully synced ──▶ full sync
 *
 * Everything that fails is repeated, because the acks report what has arrived.
 */
export class PeerLink {
  readonly #buckets: PeerBuckets;
  readonly #planner: DeltaPlanner;
  readonly #ackHandler: AckHandler;
  readonly #state: LinkState;
  readonly #backoff: Backoff;
  /** Exchanges that failed in a row. */
  #failures = 0;
  #isClosed = false;
  #ended: Promise<void> = Promise.resolve();
  readonly #stop = new AbortController();

  constructor(
    store: ReplicatedStore,
    private readonly peer: Peer,
    private readonly clock: Clock,
    private readonly options: PeerLinkOptions,
  ) {
    const { region } = peer;
    this.#backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, options.random);
    this.#state = new LinkState(region, clock, options.warn);
    this.#buckets = new PeerBuckets(store, region, options.peers, clock, options.warn);
    this.#planner = new DeltaPlanner(this.#buckets, clock, options.ackedUpTo);
    this.#ackHandler = new AckHandler(store, region, this.#buckets, options);
  }

  get region(): string {
    return this.peer.region;
  }

  get isUp(): boolean {
    return this.#state.isUp;
  }

  /** The last ack of the bucket. */
  ack(bucket: number): DeltaAck | undefined {
    return this.#buckets.progress.ack(bucket);
  }

  /** See PeerProgress. */
  ackedUpTo(bucket: number, own: Incarnation): number {
    return this.#buckets.progress.ackedUpTo(bucket, own);
  }

  get status(): Omit<LinkStatus, 'rejections'> {
    const { rejections, fullSyncs } = this.#buckets;
    const leased = this.options.leasedBuckets();
    const lag = leased && this.#buckets.lag.measure(leased);
    return {
      region: this.region,
      up: this.isUp,
      sinceMs: this.#state.sinceMs,
      error: this.#state.error || rejections.description,
      lagSeconds: lag && (lag.sinceMs === null ? 0 : (this.clock.nowMs() - lag.sinceMs) / 1000),
      lagChanges: lag && lag.changes,
      ...this.#ackHandler.counts,
      fullSyncs: fullSyncs.started,
      rejectedBuckets: rejections.size,
    };
  }

  start(): void {
    this.#ended = this.#run();
  }

  /** Resolves when the peer has acked the last changes, or does not answer. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#stop.abort();
    return this.#ended;
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      const startedAtMs = this.clock.nowMs();
      const hasMore = await this.#tryExchange();
      await sleep(this.clock, this.#nextAtMs(startedAtMs, hasMore) - this.clock.nowMs(), this.#stop.signal);
    }
    if (this.isUp) await this.#tryExchange();
  }

  #nextAtMs(startedAtMs: number, hasMore: boolean | null): number {
    if (hasMore === null) {
      this.#failures += 1;
      return startedAtMs + this.#backoff.pauseMs(this.#failures);
    }
    this.#failures = 0;
    return hasMore ? startedAtMs : this.options.changeReader.nextAtMs(startedAtMs);
  }

  /** @returns whether the next exchange is due at once; `null`: this one failed */
  async #tryExchange(): Promise<boolean | null> {
    try {
      const hasMore = await this.#exchange();
      this.#state.set(true, '');
      return hasMore;
    } catch (error) {
      this.#state.set(false, error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  async #exchange(): Promise<boolean> {
    const leased = this.options.leasedBuckets() ?? NO_BUCKETS;
    this.#buckets.keepOnly(leased);
    const read = this.options.changeReader.joinRead(leased);
    const statuses = await read.bucketStatuses;
    const { deltas, hasMore } = await this.#planner.plan(read, statuses);
    if (deltas.length > 0) await this.#ackHandler.handle(deltas, await this.peer.push(deltas), statuses);
    return (await this.#pushFullSyncPage(statuses)) || hasMore;
  }

  /** @returns whether another page is due */
  async #pushFullSyncPage(statuses: ReadonlyMap<number, BucketStatus>): Promise<boolean> {
    const { fullSyncs } = this.#buckets;
    const sync = fullSyncs.runOrStart(statuses);
    if (sync === null) return false;
    try {
      const { deltas, isLast } = await sync.nextPage();
      const acks = deltas.length === 0 ? [] : await this.peer.push(deltas);
      if (isLast) fullSyncs.finish();
      await this.#ackHandler.handle(deltas, acks, statuses);
      return !isLast;
    } catch (error) {
      fullSyncs.restart(sync);
      throw error;
    }
  }
}
