import { type Attempt, FLUSH_MS, IngestWorld, referenceStore, view } from './ingest-world.js';
import { LossyStore } from './lossy-store.js';
import { SimulatedClock } from './simulated-clock.js';

export const RETAIN_MS = 10_000;

/** One gateway, and a server that can be replaced by a replica. */
export class LossyWorld extends IngestWorld {
  readonly server: LossyStore;

  constructor({ buckets = 1, retainMs = RETAIN_MS }: { buckets?: number; retainMs?: number } = {}) {
    const clock = new SimulatedClock();
    const server = new LossyStore(referenceStore(buckets), clock);
    super({ buckets, replayWindowMs: retainMs, clock, inner: server });
    this.server = server;
  }

  /** Submits views, each in a batch of its own. */
  async viewsOneByOne(count: number): Promise<Attempt[]> {
    const attempts: Attempt[] = [];
    for (let i = 0; i < count; i++) {
      attempts.push(this.submit(view('a')));
      await this.clock.advance(FLUSH_MS + 2);
    }
    return attempts;
  }

  /** The store becomes another server, which lacks this many commits. It is reachable, but has not emitted `reconnected`. */
  async failOver(commits: number): Promise<void> {
    this.store.down();
    await this.server.failOver(this.clock.nowMs() - this.server.history.at(-commits)!.atMs + 0.5);
    this.store.available = true;
  }

  async views(): Promise<number> {
    return (await this.totals('a')).views;
  }

  /** For each batch that was sent: its producer, numbered from 0 in the order seen, and its number. */
  get numbers(): string[] {
    const seen = [...new Set(this.store.sent.map(({ batch }) => batch.producerId))];
    return this.store.sent.map(({ batch }) => `${seen.indexOf(batch.producerId)}:${batch.batchNumber}`);
  }

  get producers(): number {
    return new Set(this.store.sent.map(({ batch }) => batch.producerId)).size;
  }
}
