import type { Random } from '../support/random.js';

/** How often it comes, compared with the others, and what it does. */
export type Action = readonly [weight: number, run: () => unknown];

class BrokenInvariant extends Error {}

/** Ends the history. */
export function fail(message: string): never {
  throw new BrokenInvariant(message);
}

/** @returns the invariant that the history has broken; `''`: none is */
export async function findBrokenInvariant(history: () => Promise<void>): Promise<string> {
  try {
    await history();
    return '';
  } catch (error) {
    if (!(error instanceof BrokenInvariant)) throw error;
    return error.message;
  }
}

/** Chooses the actions of one history at random, the first of which never lacks. */
export class HistoryActions {
  /** Swarm testing (Groce et al., ISSTA 2012): each history lacks some kinds of failures, so that others come more often and closer. */
  readonly #weights: readonly number[];

  constructor(
    private readonly actions: readonly Action[],
    private readonly random: Random,
  ) {
    this.#weights = actions.map(([weight], i) => (i > 0 && random.chance(0.3) ? 0 : weight * random.next()));
  }

  async runOne(): Promise<void> {
    const sum = this.#weights.reduce((one, other) => one + other);
    let choice = this.random.next() * sum;
    const index = this.#weights.findIndex((weight) => (choice -= weight) < 0);
    await this.actions[index]![1]();
  }
}
