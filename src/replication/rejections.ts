import type { DeltaAck, Rejection } from '../counters/replication/delta.js';

const MEANINGS: Readonly<Record<Rejection, string>> = {
  ahead: 'their time stamps are over an hour ahead of its clock; set both clocks right (NTP)',
  entries: 'they count what cannot be; the log of that region says what',
};

/** The buckets of which a peer takes nothing, and why. */
export class Rejections {
  readonly #buckets = new Map<number, Rejection>();
  #warned = false;

  constructor(
    private readonly region: string,
    private readonly warn: (message: string) => void,
  ) {}

  get size(): number {
    return this.#buckets.size;
  }

  /** For operators; `''`: there are none. */
  get description(): string {
    const [rejection] = this.#buckets.values();
    if (rejection === undefined) return '';
    return `${this.region} takes nothing of ${this.size} buckets: ${MEANINGS[rejection]}`;
  }

  has(bucket: number): boolean {
    return this.#buckets.has(bucket);
  }

  /** @returns the buckets of these receipts that are too far ahead */
  record(receipts: readonly DeltaAck[]): number[] {
    const ahead: number[] = [];
    for (const { bucket, rejection } of receipts) {
      if (rejection === undefined) this.#buckets.delete(bucket);
      else this.#buckets.set(bucket, rejection);
      if (rejection === 'ahead') ahead.push(bucket);
    }
    if (this.size > 0 && !this.#warned) this.warn(`region ${this.description}`);
    this.#warned = this.size > 0;
    return ahead;
  }

  keepOnly(buckets: ReadonlySet<number>): void {
    for (const bucket of this.#buckets.keys()) if (!buckets.has(bucket)) this.#buckets.delete(bucket);
  }
}
