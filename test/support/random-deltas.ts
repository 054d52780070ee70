import type { Key64 } from '../../src/counters/ids.js';
import { METRICS_MAX } from '../../src/counters/metrics.js';
import type { Incarnation, RegionIncarnation } from '../../src/counters/pn-counter.js';
import {
  type EntryDelta,
  type HomeDelta,
  type MembersDelta,
  subsetOf,
  type PostDelta,
  type DeltaAck,
  type ToggleRegister,
  type Delta,
} from '../../src/counters/replication/delta.js';
import type { MilestoneHome, ReachedMilestone } from '../../src/counters/milestones.js';
import type { Random } from './random.js';

const POST_CHARACTERS = Array.from('ABCxyz019_.:-');
const REGIONS = ['eu', 'us', 'a', 'asia-pacific-001'];

/** Well-formed deltas with random contents: numbers over their whole range, limits often. */
export class RandomDeltas {
  constructor(private readonly random: Random) {}

  list(): Delta[] {
    return this.#randomList(4, () => this.delta());
  }

  delta(): Delta {
    const { random } = this;
    return {
      kind: random.pick(['changes', 'full-sync', 'full-sync-end', 'repair']),
      bucket: this.number(4096),
      source: this.#replica(),
      startedAtStamp: this.number(),
      predecessors: this.#randomList(3, () => this.#incarnation()),
      after: this.number(),
      upTo: this.number(),
      ackedUpTo: this.number(),
      stableStamp: this.number(),
      posts: this.#randomList(5, () => this.#post()),
      fullSyncReceiver: random.chance(0.3) ? this.#incarnation() : null,
    };
  }

  ack(): DeltaAck {
    const { random } = this;
    const flags = {
      incarnationRejected: random.chance(0.5),
      backfilling: random.chance(0.5),
      fullySynced: random.chance(0.5),
    };
    return {
      bucket: this.number(4096),
      ...flags,
      ...this.#incarnation(),
      upTo: this.number(),
      receiver: this.#incarnation(),
    };
  }

  /** @returns a number from 0 to below `end`: small, any, or the last one */
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

  #post(): PostDelta {
    return {
      post: this.post(),
      updatedAtMs: this.number(8.64e15),
      entries: this.#randomList(4, (): EntryDelta => {
        return { metric: this.#metric(), incarnation: this.#replica(), p: this.number(), n: this.number() };
      }),
      registers: this.#randomList(4, (): ToggleRegister => {
        return { metric: this.#metric(), actor: this.key(), stamp: this.number(), on: this.random.chance(0.5) };
      }),
      members: this.#randomList(3, () => this.#members()),
      ...(this.random.chance(0.3) && { homes: [this.#home()] }),
    };
  }

  #home(): HomeDelta {
    const { random } = this;
    return {
      metric: this.#metric(),
      home: random.chance(0.8) ? this.#milestoneHome() : null,
      confirmations: this.#randomList(2, () => ({
        ...this.#replica(),
        home: this.#milestoneHome(),
        stamp: this.number(),
      })),
      reached: this.#randomList(2, () => this.#record()),
    };
  }

  #milestoneHome(): MilestoneHome {
    const { random } = this;
    return { region: random.pick(REGIONS), number: this.number(), mode: random.pick(['order', 'strict', 'released']) };
  }

  #record(): ReachedMilestone {
    const { random } = this;
    return {
      ...{ n: this.number(), seq: this.number(), value: this.number(), total: this.number(), v: this.number() },
      ...{ epoch: this.number(), atMs: this.number(8.64e15), recordedAtMs: this.number(8.64e15) },
      actor: random.chance(0.5) ? this.key() : null,
      session: random.chance(0.5) ? this.key() : null,
      kind: random.pick(['add', 'set', 'adjust', 'visit']),
      region: random.pick(REGIONS),
      missed: random.chance(0.3),
      ...(random.chance(0.5) && { isFinal: true }),
    };
  }

  #members(): MembersDelta {
    const subsets = 1 + this.random.below(3);
    const subset = this.random.below(subsets);
    const actors = this.#randomList(20, () => this.key()).filter((actor) => subsetOf(actor, subsets) === subset);
    return { metric: this.#metric(), subset, subsets, actors };
  }

  #metric(): number {
    return this.random.below(METRICS_MAX);
  }

  #replica(): RegionIncarnation {
    return { region: this.random.pick(REGIONS), ...this.#incarnation() };
  }

  /** One of a few, so that they repeat. */
  #incarnation(): Incarnation {
    const epoch = this.random.below(3);
    return epoch === 0 ? { epoch: this.number(), nonce: this.number() } : { epoch, nonce: 7 ** epoch };
  }

  #randomList<T>(end: number, make: () => T): T[] {
    return Array.from({ length: this.random.below(end) }, make);
  }
}
