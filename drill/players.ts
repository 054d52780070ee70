import { randomUUID } from 'node:crypto';
import { DrillError } from './processes.js';
import type { Counts, Region } from './regions.js';

/** The post of the drill. */
export const POST = 'drill';
/** An unacknowledged operation is resent with the same key, so it counts once. */
const RETRY_MS = 100;
const GIVE_UP_MS = 10_000;
/** Length of a cycle: two new likes, one like of an actor that likes in every region, one like taken back, and views. */
const CYCLE = 12;

/** Likes and views in one region, one after the other, and records what that region has acknowledged. */
export class Player {
  /** Actors whose like is on. */
  readonly likers = new Set<string>();
  #views = 0;
  #n = 0;
  #isPlaying = false;
  #stopped: Promise<void> = Promise.resolve();

  /** @param intervalMs between two operations */
  constructor(
    private readonly region: Region,
    private readonly intervalMs: number,
  ) {}

  get counted(): Counts {
    return { likes: this.likers.size, views: this.#views };
  }

  start(): void {
    this.#isPlaying = true;
    this.#stopped = this.#play();
    this.#stopped.catch(() => undefined);
  }

  /** Resolves when all operations are acknowledged. */
  async stop(): Promise<void> {
    this.#isPlaying = false;
    await this.#stopped;
  }

  async #play(): Promise<void> {
    while (this.#isPlaying) {
      await this.#act(this.#n++);
      await new Promise((resolve) => setTimeout(resolve, this.intervalMs));
    }
  }

  async #act(n: number): Promise<void> {
    const own = `${this.region.name}-${n - (n % CYCLE)}`;
    switch (n % CYCLE) {
      case 0:
      case 4:
        await this.#like(n % CYCLE === 0 ? own : `${own}-too`);
        return;
      case 6:
        // The same actor in every region: after replication it is one like.
        await this.#like(`traveller-${n}`);
        return;
      case 9:
        await this.#putUntilAcknowledged('likes', 'decrement', own);
        this.likers.delete(own);
        return;
      default:
        await this.#putUntilAcknowledged('views', 'increment', 'somebody');
        this.#views++;
    }
  }

  async #like(actor: string): Promise<void> {
    await this.#putUntilAcknowledged('likes', 'increment', actor);
    this.likers.add(actor);
  }

  async #putUntilAcknowledged(metric: string, action: string, actor: string): Promise<void> {
    const headers = { 'Content-Type': 'application/json', 'Actor-Id': actor, 'Idempotency-Key': randomUUID() };
    const request = { method: 'PUT', headers, body: JSON.stringify({ action }) };
    const giveUpAt = performance.now() + GIVE_UP_MS;
    while (!(await isAcknowledged(`${this.region.url}/v1/${POST}/${metric}`, request))) {
      if (performance.now() > giveUpAt) throw new DrillError(`${this.region.name} acknowledged nothing for 10 s`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function isAcknowledged(url: string, request: RequestInit): Promise<boolean> {
  try {
    const response = await fetch(url, request);
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

/** @returns the counts that every region must show after replication */
export function sumAcknowledged(players: readonly Player[]): Counts {
  return {
    likes: new Set(players.flatMap(({ likers }) => [...likers])).size,
    views: players.reduce((sum, { counted }) => sum + counted.views, 0),
  };
}
