import type { PostCounts } from '../../src/counters/batch.js';
import type { Key64 } from '../../src/counters/ids.js';
import { LIKES, Metrics, VIEWS } from '../../src/counters/metrics.js';
import type { Operation } from '../../src/counters/operation.js';
import { ClosingFlag } from '../../src/common/closing-flag.js';
import type { Forwarding } from '../../src/ingest/forwarding.js';
import { Ingest } from '../../src/ingest/ingest.js';
import type { PendingOperation } from '../../src/ingest/pending-operation.js';
import type { ErrorBody, ErrorCode } from '../../src/protocol/errors.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { Random } from '../support/random.js';
import { type Conduct, FaultyStore } from './faulty-store.js';
import { SimulatedClock } from './simulated-clock.js';

export const FLUSH_MS = 10;
const METRICS = Metrics.parse('likes:toggle,views:tally');

/** One submission of an operation by a client, and its results. */
export class Attempt implements PendingOperation {
  acceptedAtMs = -1;
  readonly socketId = null;
  readonly notifiesActor = false;
  readonly post: string;
  readonly metric: number;
  readonly kind: Operation['kind'];
  readonly value: number;
  readonly actor: Key64 | null;
  readonly session: Key64 | null;
  readonly seq: number;
  readonly atS: number;
  /** All results: there must be one. */
  readonly answers: ('settled' | ErrorCode)[] = [];
  answeredAtMs: number | null = null;
  outcome = 0;
  counts: PostCounts | null = null;
  error: ErrorBody | null = null;

  constructor(
    operation: Operation,
    private readonly clock: SimulatedClock,
    private readonly then: (attempt: Attempt) => void = () => undefined,
  ) {
    this.post = operation.post;
    this.metric = operation.metric;
    this.kind = operation.kind;
    this.value = operation.value;
    this.actor = operation.actor;
    this.session = operation.session;
    this.seq = operation.seq;
    this.atS = operation.atS ?? 0;
  }

  settled(outcome: number, counts: PostCounts): void {
    this.outcome = outcome;
    this.counts = counts;
    this.#answered('settled');
  }

  failed(error: ErrorBody): void {
    this.error = error;
    this.#answered(error.code);
  }

  #answered(answer: 'settled' | ErrorCode): void {
    this.answers.push(answer);
    this.answeredAtMs = this.clock.nowMs();
    this.then(this);
  }
}

interface WorldOptions {
  readonly buckets?: number;
  readonly seed?: number;
  readonly replayWindowMs?: number;
  readonly conduct?: () => Conduct;
  /** Several gateways may share a clock and a store. */
  readonly clock?: SimulatedClock;
  readonly inner?: CounterStore;
  readonly forwarding?: Forwarding;
}

export function referenceStore(buckets: number): ReferenceStore {
  return new ReferenceStore(METRICS, buckets, { region: 'test', epoch: 1, nonce: 1 });
}

/** Ingest in simulated time, over the reference store behind a connection as bad as the test wants. */
export class IngestWorld {
  readonly clock: SimulatedClock;
  readonly inner: CounterStore;
  readonly store: FaultyStore;
  readonly lifecycle = new ClosingFlag();
  readonly ingest: Ingest;
  /** The position of every attempt among those submitted, from 1. */
  readonly order = new Map<Attempt, number>();
  readonly latencies: { commit: number[]; acknowledgement: number[] } = { commit: [], acknowledgement: [] };

  /** Warnings for the operator. */
  readonly warnings: string[] = [];

  constructor({ buckets = 1, seed = 1, replayWindowMs = 0, conduct, clock, inner, forwarding }: WorldOptions = {}) {
    this.clock = clock ?? new SimulatedClock();
    this.inner = inner ?? referenceStore(buckets);
    this.store = new FaultyStore(this.inner, this.clock, replayWindowMs, conduct);
    const random = new Random(seed);
    const options = {
      buckets,
      ...(forwarding && { forwarding }),
      flushMs: FLUSH_MS,
      newProducerId: () => random.next().toString(16),
      batchTimeMs: () => this.clock.wallMs(),
      warn: (message: string) => this.warnings.push(message),
    };
    const { commit, acknowledgement } = this.latencies;
    this.ingest = new Ingest(this.store, this.clock, this.lifecycle, () => random.next(), options, {
      commit: { observe: (seconds) => commit.push(seconds) },
      acknowledgement: { observe: (seconds) => acknowledgement.push(seconds) },
    });
  }

  submit(operation: Operation, then?: (attempt: Attempt) => void): Attempt {
    const attempt = new Attempt(operation, this.clock, then);
    this.order.set(attempt, this.order.size + 1);
    this.ingest.submit(attempt);
    return attempt;
  }

  drain(limitMs: number): Promise<void> {
    this.lifecycle.startClosing();
    return this.ingest.drain(limitMs);
  }

  /** Views of the post, each an operation of its own without a session. */
  submitMany(count: number, post = 'a'): Attempt[] {
    return Array.from({ length: count }, () => this.submit(view(post)));
  }

  async totals(post: string): Promise<{ likes: number; views: number }> {
    const [read] = await this.inner.read([post], null);
    const [likes, views] = read!.counts.totals;
    return { likes: likes!, views: views! };
  }

  /** The number of operations of each batch that was sent. */
  get batchSizes(): number[] {
    return this.store.sent.map(({ batch }) => batch.operations.length);
  }
}

export function view(post: string, session: Key64 | null = null, seq = 0): Operation {
  return { post, metric: VIEWS, kind: 'add', value: 1, actor: null, session, seq };
}

export function like(post: string, actor: Key64, on: boolean, session: Key64 | null = null, seq = 0): Operation {
  return { post, metric: LIKES, kind: 'set', value: on ? 1 : 0, actor, session, seq };
}
