import type { Batch } from '../../src/counters/batch.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import type { Key64 } from '../../src/counters/ids.js';
import { LIKES, Metrics, VIEWS } from '../../src/counters/metrics.js';
import type { Operation } from '../../src/counters/operation.js';

/** Settings of the stores under test. */
export const BUCKETS = 4;
export const METRICS = Metrics.parse('likes:toggle,views:tally,shares:tally,saves:toggle');
/** Metrics of the kinds whose rules go beyond what is stored. */
export const RULED_METRICS = Metrics.parse(
  'likes:toggle,views:unique@30m,readers:unique,yes:choice@vote,no:choice@vote,maybe:choice@vote,reads:unique@2h',
);
export const SAVES = METRICS.byName('saves')!.index;

/** The wall time of the first batches: long after 1970, as that of gateways. */
export const START_MS = Date.UTC(2026, 0, 1);

/** A session and a seq of it. */
export interface SessionSeq {
  readonly session: Key64;
  readonly seq: number;
}

const NO_SESSION = { session: null, seq: 0 };

/** A key with both halves in use. */
export function key(number: number): Key64 {
  return { hi: Math.imul(number, 0x9e3779b1) >>> 0, lo: number >>> 0 };
}

export function view(post: string, by = 1, sessionSeq: SessionSeq | typeof NO_SESSION = NO_SESSION): Operation {
  return { post, metric: VIEWS, kind: 'add', value: by, actor: null, ...sessionSeq };
}

export function like(post: string, actor: Key64, sessionSeq: SessionSeq | typeof NO_SESSION = NO_SESSION): Operation {
  return { post, metric: LIKES, kind: 'set', value: 1, actor, ...sessionSeq };
}

export function unlike(post: string, actor: Key64, sessionSeq: SessionSeq | typeof NO_SESSION = NO_SESSION): Operation {
  return { post, metric: LIKES, kind: 'set', value: 0, actor, ...sessionSeq };
}

export function save(post: string, actor: Key64): Operation {
  return { post, metric: SAVES, kind: 'set', value: 1, actor, ...NO_SESSION };
}

export function adjust(post: string, by: 1 | -1): Operation {
  return { post, metric: LIKES, kind: 'adjust', value: by, actor: null, ...NO_SESSION };
}

/** The `i`th post of a bucket. */
export function postIn(bucket: number, i = 0): string {
  let left = i;
  for (let n = 0; ; n++) {
    const post = `post-${n}`;
    if (bucketOf(post, BUCKETS) === bucket && left-- === 0) return post;
  }
}

/** The producers of one gateway process: it numbers its batches of each bucket from 1. */
export class Producer {
  readonly #last = new Array<number>(BUCKETS).fill(0);

  constructor(readonly producerId: string) {}

  /** The next batch of the bucket. */
  batch(bucket: number, operations: readonly Operation[], atMs = START_MS): Batch {
    const n = this.#last[bucket]! + 1;
    this.#last[bucket] = n;
    return { bucket, producerId: this.producerId, batchNumber: n, atMs, operations };
  }
}
