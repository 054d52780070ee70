import type { BucketStatus, ReplicatedStore } from '../store/replicated-store.js';
import { FullSync } from './full-sync.js';
import type { PeerProgress } from './peer-progress.js';

/** Buckets that need a full sync. One full sync runs at a time, of all buckets that waited when it started. */
export class FullSyncQueue {
  readonly #waiting = new Set<number>();
  #running: FullSync | null = null;
  #started = 0;

  constructor(
    private readonly store: ReplicatedStore,
    private readonly region: string,
    private readonly progress: PeerProgress,
    private readonly peers: readonly string[],
  ) {}

  /** Full syncs that were started since boot. */
  get started(): number {
    return this.#started;
  }

  add(bucket: number): void {
    this.#waiting.add(bucket);
  }

  isWaiting(bucket: number): boolean {
    return this.#waiting.has(bucket);
  }

  isRunning(bucket: number): boolean {
    return this.#running?.has(bucket) === true;
  }

  /** Takes a bucket out of the running full sync, for example because the peer rejected one of its pages. */
  drop(bucket: number): void {
    this.#running?.drop(bucket);
  }

  keepOnly(buckets: ReadonlySet<number>): void {
    for (const bucket of this.#waiting) if (!buckets.has(bucket)) this.#waiting.delete(bucket);
    for (const bucket of this.#running?.buckets ?? []) if (!buckets.has(bucket)) this.#running?.drop(bucket);
  }

  /** @returns the running full sync, or a new one of the waiting buckets; `null`: no bucket waits */
  runOrStart(statuses: ReadonlyMap<number, BucketStatus>): FullSync | null {
    this.#running ??= this.#start(statuses);
    return this.#running;
  }

  finish(): void {
    this.#running = null;
  }

  /** All pages are sent again, because another incarnation of the peer may receive the rest. */
  restart(sync: FullSync): void {
    for (const bucket of sync.buckets) this.#waiting.add(bucket);
    this.#running = null;
  }

  #start(statuses: ReadonlyMap<number, BucketStatus>): FullSync | null {
    const buckets = [...this.#waiting].filter((bucket) => statuses.has(bucket) && this.progress.has(bucket));
    if (buckets.length === 0) return null;
    this.#waiting.clear();
    this.#started += 1;
    const own = new Map(buckets.map((bucket) => [bucket, statuses.get(bucket)!]));
    return new FullSync(this.store, this.region, own, this.progress, this.peers);
  }
}
