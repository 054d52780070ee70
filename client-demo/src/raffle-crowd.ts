import { gatewayUrl } from './page.js';
import { randomActor } from './random-actor.js';
import { pause } from './reader.js';

/** Browsers open six connections to a server over HTTP/1.1. */
const AT_A_TIME = 5;
/** More than the views that win, so that the crowd goes on after the winner, and few enough for a page. */
const VISITORS_MAX = 150;
/** Visitors who come after the winner. */
const AFTERWARDS = 5;
const PAUSE_MS = 250;
const RETRY_MS = 1_000;

/** The acknowledgement of a visitor's view. */
export interface Visit {
  readonly actor: string;
  readonly total: number;
  readonly reached: boolean;
}

/** Sends visitors who view the post once each, until the milestone is reached and for some more. */
export class RaffleCrowd {
  readonly visits: Visit[] = [];
  #left = VISITORS_MAX;

  constructor(
    private readonly post: string,
    private readonly changed: () => void,
    private readonly leaving: AbortSignal,
  ) {}

  /** Resolves when all have left. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: AT_A_TIME }, () => this.#visitAgainAndAgain()));
  }

  /** The milestone is reached, by whomever. */
  end(): void {
    this.#left = Math.min(this.#left, AFTERWARDS);
  }

  async #visitAgainAndAgain(): Promise<void> {
    while (this.#left > 0 && !this.leaving.aborted) {
      this.#left--;
      const visit = await this.#view(randomActor());
      if (visit === undefined) return;
      this.visits.push(visit);
      if (visit.reached) this.end();
      this.changed();
      await pause(PAUSE_MS * (0.5 + Math.random()));
    }
  }

  /** A retry has the same key, so the view counts once. */
  async #view(actor: string): Promise<Visit | undefined> {
    const key = crypto.getRandomValues(new Uint32Array(4)).join('-');
    const headers = { 'Content-Type': 'application/json', 'Actor-Id': actor, 'Idempotency-Key': key };
    while (!this.leaving.aborted) {
      try {
        const url = `${gatewayUrl()}/v1/${this.post}/views`;
        const body = '{"action":"increment"}';
        const response = await fetch(url, { method: 'PUT', headers, body, signal: this.leaving });
        if (response.ok) {
          const { count, reached = false } = (await response.json()) as { count: number; reached?: boolean };
          return { actor, total: count, reached };
        }
      } catch {
        // The gateway is out of reach, or the raffle is left.
      }
      await pause(RETRY_MS);
    }
    return undefined;
  }
}
