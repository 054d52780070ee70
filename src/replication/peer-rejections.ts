import type { DeltaAck, Rejection } from '../counters/replication/delta.js';

const REASONS: Readonly<Record<Rejection, string>> = {
  ahead: 'their stamps are over an hour ahead of its clock; set both clocks right (NTP)',
  entries: 'their counts are impossible; see the log of that region',
};

/** The buckets that a peer rejects, and why. */
export class PeerRejections {
  readonly #buckets = new Map<number, Rejection>();
  #hasWarned = false;

  constructor(
    private readonly region: string,
    private readonly warn: (message: string) => void,
  ) {}

  get size(): number {
    return this.#buckets.size;
  }

  /** One line for operators; `''`: there are none. */
  get description(): string {
    const [rejection] = this.#buckets.values();
    return rejection === undefined ? '' : `${this.region} rejects ${this.size} buckets: ${REASONS[rejection]}`;
  }

  has(bucket: number): boolean {
    return this.#buckets.has(bucket);
  }

  /** @returns the buckets that are too far ahead of the peer's clock */
  record(acks: readonly DeltaAck[]): number[] {
    const ahead: number[] = [];
    for (const { bucket, rejection } of acks) {
      if (rejection === undefined) this.#buckets.delete(bucket);
      else this.#buckets.set(bucket, rejection);
      if (rejection === 'ahead') ahead.push(bucket);
    }
    if (this.size > 0 && !this.#hasWarned) this.warn(`region ${this.description}`);
    this.#hasWarned = this.size > 0;
    return ahead;
  }

  keepOnly(buckets: ReadonlySet<number>): void {
    for (const bucket of this.#buckets.keys()) if (!buckets.has(bucket)) this.#buckets.delete(bucket);
  }
}
