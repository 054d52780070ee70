import type { Redis } from 'ioredis';
import type { DeltaAck } from '../../src/counters/replication/delta.js';
import type { RedisReplication } from '../../src/store/redis/replication/redis-replication.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import type { ReferenceStore } from '../contract/reference-store.js';
import type { History, Shape } from './histories.js';
import type { StoreCopies } from './redis-copies.js';

/** The kind of a history. */
export interface Kind {
  readonly shape: Shape;
  readonly regions: number;
  /** Incarnations start, too; then a batch updates one toggle, because the order of several with one stamp is undefined. */
  readonly begins: boolean;
  /** Deltas are so large that a store may merge them in several steps, each of which makes a version. */
  readonly large: boolean;
  /** Whether milestones are armed. */
  readonly homes?: boolean;
}

/** A region in two stores: in Redis, and in the reference. Both get the same calls and must return the same. */
export interface Region {
  readonly name: string;
  readonly client: Redis;
  readonly store: RedisStore;
  readonly regions: RedisReplication;
  /** Replaced when the store loses something. */
  reference: ReferenceStore;
  readonly history: History;
  /** By peer and bucket: the last ack. */
  readonly acks: Map<string, DeltaAck>;
  /** By bucket: how many toggle updates its batches had. */
  readonly toggleCounts: Map<number, number>;
  backup: {
    readonly contents: ReadonlyMap<string, Buffer>;
    readonly reference: ReferenceStore;
    readonly copies: ReturnType<StoreCopies['backUp']>;
  } | null;
  /** `null`: nobody asks which posts have changed. */
  readonly copies: StoreCopies | null;
}
