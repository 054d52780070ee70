import type { PostCounts } from '../counters/batch.js';
import { ELSEWHERE } from '../counters/operation.js';
import { digest64 } from '../common/digest64.js';
import { type ErrorBody, errorBody } from '../protocol/errors.js';
import type { AppliedResult } from './batch-sender.js';
import { type AwaySession, type BucketQueue, type OpenBatch, toSessionName } from './bucket-queue.js';
import { ForwardLane, type Forwarded } from './forward-lane.js';
import { type ForwardedOperation, HOPS_MAX } from '../counters/replication/forwarded-operation.js';
import type { Forwarding } from './forwarding.js';
import type { PendingOperation } from './pending-operation.js';

/** Calls to a region at a time. Pushes to the region need connections, too. */
const LANES = 2;
/** A client that was rejected tries again after this time: about that of a cut link or a region that has not confirmed yet. */
const RETRY_MS = 500;

/** A session's operations that one batch found to be those of another region. */
interface Away extends AwaySession {
  readonly queue: BucketQueue;
  /** `null`: an operation without a session. */
  readonly name: string | null;
  /** Those that are not done. */
  readonly entries: Set<Entry>;
  /** Those of the batch that have to wait for these, because another region, or this one, has to do them. */
  readonly behind: PendingOperation[];
  region: string | null;
  isFailed: boolean;
}

interface Entry extends Forwarded {
  readonly pending: PendingOperation;
  readonly away: Away;
  /** Whether the client has its response. */
  isAnswered: boolean;
}

/** The part of ingest that the forwarder uses. */
export interface ForwarderOptions {
  readonly batchMax: number;
  /** To be called with operations that were not answered yet. */
  fail(operations: readonly PendingOperation[], error: ErrorBody): void;
  /** That many operations are no longer pending; a negative number: they still are. */
  left(count: number): void;
  /** Operations were put back. */
  resume(queue: BucketQueue): void;
}

/**
 * Forwards operations whose outcome was ELSEWHERE to the region that has to do them.
 *
 *     ELSEWHERE ──▶ which region? ──▶ lane of the region ──▶ its outcome: settled; the session's later operations are committed
 *                        │                     │
 *                        └ none: it waits here └ no answer, or it waits there: failed, and the session's later operations with it
 *
 * While an operation is away, later ones of its session in the bucket are held. A session's mark is the highest seq that was counted: if a
 * later operation were counted and the one before failed, its retry would be a duplicate of nothing.
 */
export class Forwarder {
  readonly #lanes = new Map<string, ForwardLane<Entry>>();
  readonly #entries = new Set<Entry>();

  constructor(
    private readonly forwarding: Forwarding,
    private readonly options: ForwarderOptions,
  ) {}

  /** Operations on their way. */
  get size(): number {
    return this.#entries.size;
  }

  /** Takes those operations over from a batch that was just committed, and leaves the others in it. @returns their result */
  take(queue: BucketQueue, batch: OpenBatch, result: AppliedResult): AppliedResult {
    const { outcomes } = result;
    if (!outcomes.includes(ELSEWHERE)) return result;
    const isElsewhere = new Set(batch.operations.filter((_, i) => outcomes[i] === ELSEWHERE));
    this.options.left(-isElsewhere.size);
    this.#take(queue, batch, result);
    batch.keepOnly((operation) => !isElsewhere.has(operation));
    return { ...result, outcomes: outcomes.filter((outcome) => outcome !== ELSEWHERE) };
  }

  #take(queue: BucketQueue, { operations, answeredFrom }: OpenBatch, { outcomes, counts }: AppliedResult): void {
    const sessions = new Map<string, Away>();
    const taken: Entry[] = [];
    const batchName = `${queue.producerId} ${queue.batchNumber}`;
    for (const [i, operation] of operations.entries()) {
      if (outcomes[i] !== ELSEWHERE) continue;
      const away = this.#findAway(sessions, queue, operation);
      const entry = this.#enter(away, operation, counts.get(operation.post)!, `${batchName} ${i}`);
      taken.push(entry);
      if (i >= answeredFrom) continue;
      // Its client has an error and sends it again.
      entry.isAnswered = true;
      away.isFailed = true;
    }
    for (const away of sessions.values()) {
      if (away.isFailed) this.#fail(away, unavailable('an earlier operation of the session failed'));
    }
    void this.#route(taken);
  }

  /** Fails operations that have waited since `sinceMs` or longer. */
  failOverdue(sinceMs: number): void {
    for (const { pending, away, isAnswered } of [...this.#entries]) {
      if (isAnswered || pending.acceptedAtMs > sinceMs) continue;
      this.#fail(away, unavailable(`${describe(away.region)} did not answer in time`));
    }
  }

  #findAway(sessions: Map<string, Away>, queue: BucketQueue, { session }: PendingOperation): Away {
    const name = session === null ? null : toSessionName(session);
    const known = name === null ? undefined : sessions.get(name);
    if (known !== undefined) return known;
    const away = { queue, name, entries: new Set<Entry>(), behind: [], held: [], region: null, isFailed: false };
    if (name === null) return away;
    sessions.set(name, away);
    queue.away.set(name, away);
    return away;
  }

  #enter(away: Away, pending: PendingOperation, counts: PostCounts, name: string): Entry {
    const entry: Entry = {
      operation: toForwarded(pending, name),
      pending,
      away,
      isAnswered: false,
      done: (outcome) => {
        if (outcome === null) this.#fail(away, unavailable(`${describe(away.region)} did not answer`));
        else if (outcome === ELSEWHERE)
          this.#fail(away, unavailable(`${describe(away.region)} waits for other regions to confirm that`));
        else if (!entry.isAnswered) {
          entry.isAnswered = true;
          pending.settled(outcome, counts);
        }
        this.#finish(entry);
      },
    };
    away.entries.add(entry);
    this.#entries.add(entry);
    return entry;
  }

  async #route(taken: readonly Entry[]): Promise<void> {
    const operations = taken.map(({ pending }) => pending);
    const regions = await this.forwarding.forwardTo(operations).catch(() => operations.map(() => null));
    const explained = new Map<string, Promise<string>>();
    for (const [i, entry] of taken.entries()) {
      const { away, operation, pending } = entry;
      const region = regions[i] ?? null;
      if (away.isFailed) this.#finish(entry);
      else if (away.region !== null && (away.region !== region || away.behind.length > 0)) {
        away.behind.push(pending);
        // It is pending as before.
        this.options.left(-1);
        this.#finish(entry);
      } else if (region === null || operation.hops > HOPS_MAX) {
        const metric = `${pending.metric} ${pending.post}`;
        const reason = explained.get(metric) ?? this.#explainWait(pending);
        explained.set(metric, reason);
        this.#fail(away, unavailable(await reason));
        this.#finish(entry);
      } else {
        away.region = region;
        if (this.#laneOf(region, operation).add(entry)) continue;
        this.#fail(away, unavailable(`too many operations wait for region ${region}`));
        this.#finish(entry);
      }
    }
  }

  async #explainWait(operation: PendingOperation): Promise<string> {
    const regions = await this.forwarding.waitingFor(operation);
    const names = regions.length === 0 ? 'other regions' : `region ${regions.join(', ')}`;
    return `near a milestone this metric of the post waits until ${names} has confirmed who counts it`;
  }

  #laneOf(region: string, { session }: ForwardedOperation): ForwardLane<Entry> {
    const name = `${region} ${session.lo % LANES}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) this.#lanes.set(name, (lane = new ForwardLane(this.forwarding, region)));
    return lane;
  }

  /** Fails all of a session that wait, and those that are away. These stay until it is known that they cannot arrive any more. */
  #fail(away: Away, error: ErrorBody): void {
    const { queue, name, entries, behind, held } = away;
    away.isFailed = true;
    const failed: PendingOperation[] = [];
    for (const entry of entries) {
      if (!entry.isAnswered) failed.push(entry.pending);
      entry.isAnswered = true;
    }
    for (const lane of this.#lanes.values()) {
      for (const entry of lane.withdraw((one) => one.away === away)) this.#leave(entry);
    }
    const waiting = name === null ? { unanswered: [], count: 0 } : queue.withdraw(name);
    this.options.left(behind.length + held.length + waiting.count);
    failed.push(...behind.splice(0), ...held.splice(0), ...waiting.unanswered);
    this.options.fail(failed, error);
  }

  #finish(entry: Entry): void {
    this.#leave(entry);
    this.#releaseIfOver(entry.away);
  }

  #leave(entry: Entry): void {
    if (this.#entries.delete(entry)) this.options.left(1);
    entry.away.entries.delete(entry);
  }

  #releaseIfOver({ queue, name, entries, behind, held }: Away): void {
    if (entries.size > 0 || name === null || !queue.away.delete(name)) return;
    queue.putBack([...behind.splice(0), ...held.splice(0)], this.options.batchMax);
    this.options.resume(queue);
  }
}

/** An operation without a session gets one of its own, so that it is counted once even if the call is repeated. */
function toForwarded(pending: PendingOperation, name: string): ForwardedOperation {
  const { post, metric, kind, value, actor, session, seq, atS, hops } = pending;
  const mark = session === null ? { session: digest64(name), seq: 1 } : { session, seq };
  const visit = atS === undefined ? {} : { atS };
  return { post, metric, kind, value, actor, ...mark, ...visit, isForwarded: true, hops: (hops ?? 0) + 1 };
}

function describe(region: string | null): string {
  return region === null ? 'the store' : `region ${region} counts this metric of the post near a milestone, and`;
}

function unavailable(problem: string): ErrorBody {
  return errorBody('UNAVAILABLE', `${problem}; retry with the same seq or key`, RETRY_MS);
}
