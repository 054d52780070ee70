import type { Key64 } from '../../src/counters/ids.js';
import { METRICS_MAX } from '../../src/counters/metrics.js';
import type { Life, Replica } from '../../src/counters/pn-counter.js';
import {
  type EntryShipment,
  type MembersShipment,
  partOf,
  type PostShipment,
  type Receipt,
  type Register,
  type Shipment,
} from '../../src/counters/replication/delta.js';
import type { Random } from './random.js';

const POST_CHARACTERS = Array.from('ABCxyz019_.:-');
const REGIONS = ['eu', 'us', 'a', 'asia-pacific-001'];

/** Well-formed, but of no sense: numbers are anything that they can be, the edges often. */
export class RandomShipments {
  constructor(private readonly random: Random) {}

  list(): Shipment[] {
    return this.#many(4, () => this.shipment());
  }

  shipment(): Shipment {
    const { random } = this;
    return {
      kind: random.pick(['changes', 'scan', 'end', 'quiet']),
      bucket: this.number(4096),
      source: this.#replica(),
      born: this.number(),
      goesOn: this.#many(3, () => this.#life()),
      after: this.number(),
      upTo: this.number(),
      confirmed: this.number(),
      floor: this.number(),
      posts: this.#many(5, () => this.#post()),
      shown: random.chance(0.3) ? this.#life() : null,
    };
  }

  receipt(): Receipt {
    const { random } = this;
    const flags = { refused: random.chance(0.5), filling: random.chance(0.5), told: random.chance(0.5) };
    return { bucket: this.number(4096), ...flags, ...this.#life(), upTo: this.number(), receiver: this.#life() };
  }

  /** From 0 to below `end`: small, anything, or the last. */
  number(end = Number.MAX_SAFE_INTEGER): number {
    const { random } = this;
    if (random.chance(0.1)) return end - 1;
    return random.below(random.chance(0.5) ? Math.min(end, 300) : end);
  }

  post(): string {
    return Array.from({ length: 1 + this.random.below(64) }, () => this.random.pick(POST_CHARACTERS)).join('');
  }

  key(): Key64 {
    return { hi: this.number(2 ** 32), lo: this.number(2 ** 32) };
  }

  #post(): PostShipment {
    return {
      post: this.post(),
      updatedAtMs: this.number(8.64e15),
      entries: this.#many(4, (): EntryShipment => {
        return { metric: this.#metric(), replica: this.#replica(), p: this.number(), n: this.number() };
      }),
      registers: this.#many(4, (): Register => {
        return { metric: this.#metric(), actor: this.key(), stamp: this.number(), on: this.random.chance(0.5) };
      }),
      members: this.#many(3, () => this.#members()),
    };
  }

  #members(): MembersShipment {
    const parts = 1 + this.random.below(3);
    const part = this.random.below(parts);
    const actors = this.#many(20, () => this.key()).filter((actor) => partOf(actor, parts) === part);
    return { metric: this.#metric(), part, parts, actors };
  }

  #metric(): number {
    return this.random.below(METRICS_MAX);
  }

  #replica(): Replica {
    return { region: this.random.pick(REGIONS), ...this.#life() };
  }

  /** One of few, so that they repeat. */
  #life(): Life {
    const life = this.random.below(3);
    return life === 0 ? { epoch: this.number(), nonce: this.number() } : { epoch: life, nonce: 7 ** life };
  }

  #many<T>(end: number, make: () => T): T[] {
    return Array.from({ length: this.random.below(end) }, make);
  }
}
