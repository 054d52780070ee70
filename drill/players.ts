import { randomUUID } from 'node:crypto';
import { DrillError } from './processes.js';
import type { Counts, Region } from './regions.js';

/** What is counted in the drill. */
export const POST = 'drill';
/** An operation that was not answered is sent again, under the same key: it counts once. */
const RETRY_MS = 100;
const GIVE_UP_MS = 10_000;
/** Of this many operations two are new likes, one is of somebody who likes in every region, one takes a like back; views. */
const ROUND = 12;

/** Likes and views in one region, one after the other, and keeps book of what that region has acknowledged. */
export class Player {
  /** Actors whose like is on. */
  readonly likers = new Set<string>();
  #views = 0;
  #n = 0;
  #playing = false;
  #over: Promise<void> = Promise.resolve();

  /** @param paceMs between two operations */
  constructor(
    private readonly region: Region,
    private readonly paceMs: number,
  ) {}

  get counted(): Counts {
    return { likes: this.likers.size, views: this.#views };
  }

  start(): void {
    this.#playing = true;
    this.#over = this.#play();
    this.#over.catch(() => undefined);
  }

  /** Resolves when all that was done is acknowledged. */
  async stop(): Promise<void> {
    this.#playing = false;
    await this.#over;
  }

  async #play(): Promise<void> {
    while (this.#playing) {
      await this.#act(this.#n++);
      await new Promise((resolve) => setTimeout(resolve, this.paceMs));
    }
  }

  async #act(n: number): Promise<void> {
    const own = `${this.region.name}-${n - (n % ROUND)}`;
    switch (n % ROUND) {
      case 0:
      case 4:
        await this.#like(n % ROUND === 0 ? own : `${own}-too`);
        return;
      case 6:
        // The same name in every region: once all know of each other it is one like.
        await this.#like(`traveller-${n}`);
        return;
      case 9:
        await this.#put('likes', 'decrement', own);
        this.likers.delete(own);
        return;
      default:
        await this.#put('views', 'increment', 'somebody');
        this.#views++;
    }
  }

  async #like(actor: string): Promise<void> {
    await this.#put('likes', 'increment', actor);
    this.likers.add(actor);
  }

  async #put(metric: string, action: string, actor: string): Promise<void> {
    const headers = { 'Content-Type': 'application/json', 'Actor-Id': actor, 'Idempotency-Key': randomUUID() };
    const request = { method: 'PUT', headers, body: JSON.stringify({ action }) };
    const giveUpAt = performance.now() + GIVE_UP_MS;
    while (!(await isDone(`${this.region.url}/v1/${POST}/${metric}`, request))) {
      if (performance.now() > giveUpAt) throw new DrillError(`${this.region.name} acknowledged nothing for 10 s`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function isDone(url: string, request: RequestInit): Promise<boolean> {
  try {
    const response = await fetch(url, request);
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

/** What every region has to show once it knows of all. */
export function sumAcknowledged(players: readonly Player[]): Counts {
  return {
    likes: new Set(players.flatMap(({ likers }) => [...likers])).size,
    views: players.reduce((sum, { counted }) => sum + counted.views, 0),
  };
}
