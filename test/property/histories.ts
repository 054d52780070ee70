import { isDeepStrictEqual } from 'node:util';
import type { Batch, CommitResult } from '../../src/counters/batch.js';
import { MARK_GENERATION_MS } from '../../src/counters/bucket.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import type { Key64 } from '../../src/counters/ids.js';
import { type Metric, Metrics } from '../../src/counters/metrics.js';
import type { Operation } from '../../src/counters/operation.js';
import { COUNT_MAX } from '../../src/counters/pn-counter.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import { key, START_MS } from '../contract/operations.js';
import type { Random } from '../support/random.js';

/** How far the offsets of a log are from those of its next incarnation, about. */
const NEXT_INCARNATION = 2 ** 40;

/** The size of a history: few things, so that many operations meet, or many, so that the store is large. */
export interface Shape {
  readonly metrics: Metrics;
  readonly buckets: number;
  readonly postsABucket: number;
  readonly actors: number;
  readonly sessions: number;
  readonly gateways: number;
  /** Operations of a large batch, and how often there is one. */
  readonly large: number;
  readonly largeChance: number;
}

interface Session {
  readonly key: Key64;
  seq: number;
}

/** Ids that break code that does not treat them as opaque. */
const ODD_POSTS = ['__proto__', 'constructor', '-9223372036854775808', '0', '.', ':', 'a:0:0:b', 'x'.repeat(64)];
/** The first ones are the ends of the range of 64 bits. */
const ODD_KEYS: readonly Key64[] = [
  { hi: 0, lo: 0 },
  { hi: 0xffffffff, lo: 0xffffffff },
  { hi: 0x80000000, lo: 0 },
  { hi: 0x7fffffff, lo: 0xffffffff },
];
const REMEMBERED = 60;
const SMALL_MAX = 20;

/** Random batches as several gateways might send them to a store: the same for the same seed. */
export class History {
  readonly posts: readonly (readonly string[])[];
  readonly actors: readonly Key64[];
  readonly #sessions: readonly Session[];
  readonly #producerIds: string[] = [];
  /** The last batch of a producer in a bucket. */
  readonly #last = new Map<string, Batch>();
  /** Recent operations, by bucket, some of which are sent again. */
  readonly #recent: Operation[][];
  /** By bucket, the last batch of a log. */
  readonly #lastOfLog: Batch[] = [];
  #processes = 0;
  #nowMs = START_MS;

  constructor(
    readonly shape: Shape,
    private readonly random: Random,
  ) {
    this.posts = choosePosts(shape);
    this.actors = Array.from({ length: shape.actors }, (_, i) => ODD_KEYS[i] ?? key(i));
    this.#sessions = Array.from({ length: shape.sessions }, (_, i) => ({ key: ODD_KEYS[i] ?? key(~i), seq: 0 }));
    this.#recent = this.posts.map(() => []);
    this.restart();
  }

  get allPosts(): string[] {
    return this.posts.flat();
  }

  /** Every gateway becomes a new process, with new producers. */
  restart(): void {
    for (let gateway = 0; gateway < this.shape.gateways; gateway++) this.#begin(gateway);
  }

  /** Mostly the next batch of a gateway and bucket; sometimes one that is no next batch, which the store must not apply. */
  next(): Batch {
    const { random } = this;
    const gateway = random.below(this.shape.gateways);
    const bucket = random.below(this.shape.buckets);
    if (random.chance(0.01)) this.#begin(gateway);
    this.#nowMs += this.#laterMs();
    if (random.chance(0.1)) return this.#nextOfLog(bucket);
    const producerId = this.#producerIds[gateway]!;
    const key = `${producerId} ${bucket}`;
    const last = this.#last.get(key);
    const turn = random.next();
    if (turn < 0.06 && last !== undefined) return last;
    const after = turn < 0.08 ? 2 : turn < 0.1 ? -random.below(2) : 1;
    const batchNumber = (last?.batchNumber ?? 0) + after;
    const batch = { bucket, producerId, batchNumber, atMs: this.#nowMs, operations: this.#operations(bucket) };
    if (after === 1) this.#last.set(key, batch);
    return batch;
  }

  /** Mostly the log's next batch for the bucket; sometimes one that starts elsewhere. */
  #nextOfLog(bucket: number): Batch {
    const { random } = this;
    const last = this.#lastOfLog[bucket];
    const position = last?.batchNumber ?? 0;
    const turn = random.next();
    if (turn < 0.1 && last !== undefined) return last;
    const afterInLog = Math.max(0, position + (turn < 0.15 ? 1 : turn < 0.2 ? -1 : 0));
    const incarnation = random.chance(0.02) || last === undefined ? NEXT_INCARNATION : 0;
    const batchNumber = position + incarnation + 1 + random.below(1_000);
    const operations = this.#operations(bucket);
    const batch = { bucket, producerId: 'log-0001', batchNumber, afterInLog, atMs: this.#nowMs, operations };
    if (afterInLog === position) this.#lastOfLog[bucket] = batch;
    return batch;
  }

  #begin(gateway: number): void {
    this.#processes += 1;
    this.#producerIds[gateway] = String(this.#processes).padStart(8, '0');
  }

  /** Usually some milliseconds, rarely hours, and rarely back, because clocks of gateways differ. */
  #laterMs(): number {
    const { random } = this;
    const turn = random.next();
    if (turn < 0.001) return MARK_GENERATION_MS;
    if (turn < 0.002) return MARK_GENERATION_MS / 2;
    if (turn < 0.0025) return -MARK_GENERATION_MS / 2;
    return turn < 0.02 ? -random.below(5_000) : random.below(50);
  }

  #operations(bucket: number): Operation[] {
    const { random } = this;
    const { large, largeChance } = this.shape;
    const turn = random.next();
    const size = turn < largeChance ? large : turn > 0.98 ? 0 : 1 + random.below(1 + random.below(SMALL_MAX));
    const recent = this.#recent[bucket]!;
    return Array.from({ length: size }, () => {
      if (recent.length > 0 && random.chance(0.1)) return random.pick(recent);
      const operation = this.#operation(bucket);
      if (recent.length < REMEMBERED) recent.push(operation);
      else recent[random.below(REMEMBERED)] = operation;
      return operation;
    });
  }

  #operation(bucket: number): Operation {
    const { random } = this;
    const post = random.pick(this.posts[bucket]!);
    const metric = random.pick(this.shape.metrics.list);
    return { post, metric: metric.index, ...this.#randomChange(metric), ...this.#randomSeq() };
  }

  #randomChange({ kind }: Metric): Pick<Operation, 'kind' | 'value' | 'actor' | 'atS'> {
    const { random } = this;
    if (kind.windowS > 0) {
      const atS = Math.floor(this.#nowMs / 1_000) - random.below(random.chance(0.1) ? 2 * kind.windowS : 5);
      return { kind: 'visit', value: 1, actor: random.pick(this.actors), atS };
    }
    if (kind.isUnique) return { kind: 'set', value: 1, actor: random.pick(this.actors) };
    if (!kind.hasMembers) {
      const value = random.chance(0.003) ? COUNT_MAX - random.below(3_000) : 1 + random.below(1_000);
      return { kind: 'add', value, actor: null };
    }
    if (random.chance(0.15)) return { kind: 'adjust', value: random.chance(0.5) ? 1 : -1, actor: null };
    return { kind: 'set', value: random.chance(0.7) ? 1 : 0, actor: random.pick(this.actors) };
  }

  #randomSeq(): Pick<Operation, 'session' | 'seq'> {
    const { random } = this;
    if (random.chance(0.4)) return { session: null, seq: 0 };
    const session = random.pick(this.#sessions);
    const turn = random.next();
    if (turn < 0.15) return { session: session.key, seq: 1 + random.below(session.seq + 1) };
    const step = turn < 0.9998 ? 1 + (turn < 0.2 ? random.below(1_000) : 0) : COUNT_MAX;
    session.seq = Math.min(session.seq + step, COUNT_MAX);
    return { session: session.key, seq: session.seq };
  }
}

function choosePosts({ buckets, postsABucket }: Shape): string[][] {
  const posts = Array.from({ length: buckets }, (): string[] => []);
  for (let i = 0; posts.some(({ length }) => length < postsABucket); i++) {
    const post = ODD_POSTS[i] ?? `post-${i}`;
    const bucket = posts[bucketOf(post, buckets)]!;
    if (bucket.length < postsABucket) bucket.push(post);
  }
  return posts;
}

/**
 * Sends the batches to the store, all at once, and to the reference.
 * @throws Error that names the first batch, counted from `first`, with different results
 */
export async function sendAlike(
  store: Pick<CounterStore, 'commit'>,
  reference: Pick<CounterStore, 'commit'>,
  batches: readonly Batch[],
  first: number,
): Promise<void> {
  const answers = await Promise.all(batches.map((batch) => store.commit(batch)));
  for (const [i, batch] of batches.entries()) {
    const expected = plain(await reference.commit(batch));
    const answer = plain(answers[i]!);
    if (isDeepStrictEqual(answer, expected)) continue;
    const [found, meant] = [JSON.stringify(answer), JSON.stringify(expected)];
    let at = 0;
    while (at < found.length && found[at] === meant[at]) at += 1;
    const around = [found, meant].map((text) => text.slice(Math.max(0, at - 200), at + 200));
    throw new Error(`batch ${first + i}, ${describeBatch(batch)}, got …${around.join('… instead of …')}…`);
  }
}

/** @throws Error that names a post that one of the actors, or a reader without an actor, reads differently */
export async function readAlike(
  store: Pick<CounterStore, 'read'>,
  reference: Pick<CounterStore, 'read'>,
  posts: readonly string[],
  actors: readonly Key64[],
): Promise<void> {
  for (const actor of [null, ...actors]) {
    const [views, expected] = await Promise.all([store.read(posts, actor), reference.read(posts, actor)]);
    const at = expected.findIndex((view, i) => !isDeepStrictEqual(views[i], view));
    if (at === -1) continue;
    throw new Error(`read differently: ${JSON.stringify({ actor, view: views[at], expected: expected[at] })}`);
  }
}

function describeBatch({ bucket, producerId, batchNumber, operations }: Batch): string {
  return `number ${batchNumber} of ${producerId} in bucket ${bucket} with ${operations.length} operations`;
}

/** The result with sorted lists where their order is not defined. */
function plain(result: CommitResult): object {
  if (result.kind !== 'applied') return result;
  const { kind, outcomes, counts, changed } = result;
  return {
    kind,
    outcomes: [...outcomes],
    counts: Object.fromEntries([...counts].map(([post, now]) => [`post ${post}`, now])),
    changed: Object.fromEntries(changed.map((now) => [`post ${now.post}`, now])),
  };
}
