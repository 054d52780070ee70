import { ClosingFlag } from '../../src/common/closing-flag.js';
import type { Batch, CommitResult } from '../../src/counters/batch.js';
import type { Operation } from '../../src/counters/operation.js';
import { Ingest } from '../../src/ingest/ingest.js';
import type { Random } from '../support/random.js';
import { type Conduct, FaultyStore } from './faulty-store.js';
import { Attempt, FLUSH_MS } from './ingest-world.js';
import type { MilestonesStore } from './milestones-store.js';
import type { SimulatedClock } from './simulated-clock.js';
import { SimulatedProcess } from './simulated-process.js';

const UNOBSERVED = { observe: () => undefined };

/** A gateway that can be killed: what it has sent may still be committed. */
export class MilestonesGateway {
  readonly store: FaultyStore;
  readonly process: SimulatedProcess;
  readonly #ingest: Ingest;

  constructor(
    private readonly clock: SimulatedClock,
    inner: MilestonesStore,
    random: Random,
    { retainMs, conduct }: { readonly retainMs: number; readonly conduct: () => Conduct },
  ) {
    const process = (this.process = new SimulatedProcess(clock));
    this.store = new (class extends FaultyStore {
      /** The answer to a killed process never comes. */
      override async commit(batch: Batch): Promise<CommitResult> {
        try {
          return await super.commit(batch);
        } finally {
          await process.awake();
        }
      }
    })(inner, clock, retainMs, conduct);
    const options = {
      buckets: 1,
      flushMs: FLUSH_MS,
      newProducerId: () => random.next().toString(16),
      batchTimeMs: () => clock.wallMs(),
      warn: () => undefined,
    };
    const latency = { commit: UNOBSERVED, acknowledgement: UNOBSERVED };
    this.#ingest = new Ingest(this.store, process.clock, new ClosingFlag(), () => random.next(), options, latency);
  }

  submit(operation: Operation, then: (attempt: Attempt) => void): void {
    this.#ingest.submit(new Attempt(operation, this.clock, then));
  }
}

/** An operation of a client, until it is acknowledged. */
interface Sent {
  readonly operation: Operation;
  /** Number of the last attempt: only its failure leads to another one. */
  attempts: number;
}

const RETRY_MS = 200;
const MOVE_CHANCE = 0.2;
const LOST_ANSWER_CHANCE = 0.1;

/** A client with a session. It sends what was not acknowledged again, in order, perhaps to another gateway. */
export class MilestonesClient {
  readonly #unacknowledged = new Set<Sent>();

  constructor(
    private readonly clock: SimulatedClock,
    private readonly random: Random,
    private readonly pickGateway: () => MilestonesGateway,
    private readonly onAcknowledged: (operation: Operation, outcome: number) => void,
    public gateway = pickGateway(),
  ) {}

  act(operation: Operation): void {
    const sent = { operation, attempts: 0 };
    if (operation.session !== null) this.#unacknowledged.add(sent);
    this.#send(sent);
  }

  get unacknowledged(): number {
    return this.#unacknowledged.size;
  }

  /** The connection is lost, perhaps with its gateway. */
  reconnect(): void {
    this.gateway = this.pickGateway();
    for (const sent of this.#unacknowledged) this.#send(sent);
  }

  #send(sent: Sent): void {
    const number = (sent.attempts += 1);
    const { gateway } = this;
    gateway.submit(sent.operation, ({ answers, outcome }) => {
      const isLost = sent.operation.session !== null && this.random.chance(LOST_ANSWER_CHANCE);
      if (answers.at(-1) === 'settled' && !isLost) {
        this.#unacknowledged.delete(sent);
        this.onAcknowledged(sent.operation, outcome);
      } else if (sent.operation.session !== null) {
        this.clock.after(RETRY_MS, () => this.#sendAgain(sent, number));
      }
    });
  }

  #sendAgain(sent: Sent, after: number): void {
    if (after !== sent.attempts || !this.#unacknowledged.has(sent)) return;
    if (this.random.chance(MOVE_CHANCE)) this.reconnect();
    else this.#send(sent);
  }
}

/** From a good store to one that loses answers, or applies a batch after it rejected it. */
export function conductOf(random: Random, slowness: number): Conduct {
  const ms = 1 + random.below(20);
  if (!random.chance(slowness)) return { appliesAfterMs: ms, endsAfterMs: ms, answers: true };
  const kind = random.next();
  if (kind < 0.2) return { appliesAfterMs: null, endsAfterMs: ms, answers: false };
  if (kind < 0.5) return { appliesAfterMs: ms, endsAfterMs: ms + 5, answers: false };
  if (kind < 0.7) return { appliesAfterMs: ms + random.below(2_000), endsAfterMs: ms, answers: false };
  const hangs = 100 + random.below(4_000);
  return { appliesAfterMs: random.chance(0.5) ? hangs : 1, endsAfterMs: hangs, answers: random.chance(0.7) };
}
