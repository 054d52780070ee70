import type { Metric } from '../counters/metrics.js';
import { type ErrorBody, errorBody } from '../protocol/errors.js';
import type { Identity } from './authenticator.js';

/** Decides about the writes of clients without a token, where the gateway verifies tokens: guests may add to some metrics. */
export class GuestPolicy {
  readonly #indexes: ReadonlySet<number>;
  readonly #remedy: string;

  constructor(metrics: readonly Metric[]) {
    this.#indexes = new Set(metrics.map(({ index }) => index));
    const names = metrics.map(({ name }) => name).join(', ');
    this.#remedy = names === '' ? 'without one you can only watch' : `without one you may only add to: ${names}`;
  }

  /** Whether guests may add to any metric. */
  get admitsGuests(): boolean {
    return this.#indexes.size > 0;
  }

  /** @returns UNAUTHORIZED if the client may not change the metric; `null` if it may */
  findRejection({ mayAct }: Identity, { name, index }: Pick<Metric, 'name' | 'index'>): ErrorBody | null {
    if (mayAct || this.#indexes.has(index)) return null;
    return errorBody('UNAUTHORIZED', `a token is required to change ${name}; ${this.#remedy}`);
  }

  /** @returns UNAUTHORIZED if the client may change nothing; `null` if it may change some metric */
  findRejectionOfAll({ mayAct }: Identity): ErrorBody | null {
    if (mayAct || this.admitsGuests) return null;
    return errorBody('UNAUTHORIZED', `a token is required for writes; ${this.#remedy}`);
  }
}
