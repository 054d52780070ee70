import type { PostCounts } from '../counters/batch.js';
import { ELSEWHERE } from '../counters/operation.js';
import { digest64 } from '../common/digest64.js';
import { type ErrorBody, errorBody } from '../protocol/errors.js';
import type { AppliedResult } from './batch-sender.js';
import { type AwaySession, type BucketQueue, type OpenBatch, toSessionName } from './bucket-queue.js';
import { ForwardLane, type Forwarded } from './forward-lane.js';
import { type ForwardedOperation, HOPS_MAX } from '../counters/replication/forwarded-operation.js';
import type { Forwarding, WaitReason } from './forwarding.js';
import type { StalledOperation } from './ingest-events.js';
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
  readonly counts: PostCounts;
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
  /** An operation has its outcome from another region. */
  settled(operation: PendingOperation, outcome: number): void;
  /** An operation waits for other regions. It fails after this. */
  stalled(one: StalledOperation): void;
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
    const failed = new Set([...sessions.values()].filter(({ isFailed }) => isFailed));
    this.#fail(failed, unavailable('an earlier operation of the session failed'));
    void this.#route(taken);
  }

  /** Fails operations that have waited since `sinceMs` or longer. */
  failOverdue(sinceMs: number): void {
    const overdue = new Map<string | null, Set<Away>>();
    for (const { pending, away, isAnswered } of this.#entries) {
      if (isAnswered || pending.acceptedAtMs > sinceMs) continue;
      ensure(overdue, away.region, () => new Set<Away>()).add(away);
      if (away.region !== null) this.#stall(pending, [away.region], 'silent');
    }
    for (const [region, aways] of overdue) this.#fail(aways, unavailable(describeSilence(region)));
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
    const entry = { operation: toForwarded(pending, name), pending, away, counts, isAnswered: false };
    away.entries.add(entry);
    this.#entries.add(entry);
    return entry;
  }

  async #route(taken: readonly Entry[]): Promise<void> {
    const regions = await this.forwarding
      .forwardTo(taken.map(({ pending }) => pending))
      .catch(() => taken.map(() => null));
    const full = new Set<Away>();
    const waits = new Map<string, Entry[]>();
    const waiting = new Map<Away, Entry[]>();
    for (const [i, entry] of taken.entries()) {
      const { away, operation, pending } = entry;
      const region = regions[i] ?? null;
      if (away.isFailed || full.has(away)) this.#finish(entry);
      else if (waiting.has(away)) waiting.get(away)!.push(entry);
      else if (away.region !== null && (away.region !== region || away.behind.length > 0)) {
        away.behind.push(pending);
        // It is pending as before.
        this.options.left(-1);
        this.#finish(entry);
      } else if (region === null || operation.hops > HOPS_MAX) {
        const entries = ensure(waits, `${pending.metric} ${pending.post}`, (): Entry[] => []);
        entries.push(entry);
        waiting.set(away, entries);
      } else {
        away.region = region;
        if (this.#laneOf(region, operation).add(entry)) continue;
        full.add(away);
        this.#fail(new Set([away]), unavailable(`too many operations wait for region ${region}`));
        this.#finish(entry);
      }
    }
    await Promise.all([...waits.values()].map((entries) => this.#failWaiting(entries)));
  }

  /** @param entries of one metric of a post, and later ones of their sessions */
  async #failWaiting(entries: readonly Entry[]): Promise<void> {
    const [first] = entries;
    const reason = await this.forwarding.findWaitReason(first!.pending);
    this.#stall(first!.pending, reason.regions, reason.cause);
    this.#fail(new Set(entries.map(({ away }) => away)), unavailable(describeReason(reason)));
    for (const entry of entries) this.#finish(entry);
  }

  #laneOf(region: string, { session }: ForwardedOperation): ForwardLane<Entry> {
    const name = `${region} ${session.lo % LANES}`;
    return ensure(
      this.#lanes,
      name,
      () => new ForwardLane(this.forwarding, region, (sent, outcomes) => this.#done(region, sent, outcomes)),
    );
  }

  #done(region: string, sent: readonly Entry[], outcomes: readonly number[] | null): void {
    const failed = new Set<Away>();
    for (const [i, entry] of sent.entries()) {
      const { away, pending } = entry;
      if (away.isFailed) continue;
      const outcome = outcomes?.[i];
      if (outcome !== undefined && outcome !== ELSEWHERE) {
        entry.isAnswered = true;
        pending.settled(outcome, entry.counts);
        this.options.settled(pending, outcome);
      } else {
        // Later ones of the session may be done there: their clients send them again after this one, as they do here.
        away.isFailed = true;
        failed.add(away);
        this.#stall(pending, [region], outcomes === null ? 'silent' : 'waiting');
      }
    }
    this.#fail(failed, unavailable(outcomes === null ? describeSilence(region) : describeWait(region)));
    for (const entry of sent) this.#finish(entry);
  }

  #stall(operation: PendingOperation, regions: readonly string[], cause: StalledOperation['cause']): void {
    this.options.stalled({ operation, regions, cause });
  }

  /**
   * Fails all operations of sessions that wait, and those that are away. These stay until it is known that they cannot arrive any more.
   * Costs one look at all that waits, however many sessions fail.
   */
  #fail(aways: ReadonlySet<Away>, error: ErrorBody): void {
    if (aways.size === 0) return;
    const failed: PendingOperation[] = [];
    const names = new Map<BucketQueue, Set<string>>();
    for (const away of aways) {
      away.isFailed = true;
      for (const entry of away.entries) {
        if (!entry.isAnswered) failed.push(entry.pending);
        entry.isAnswered = true;
      }
      this.options.left(away.behind.length + away.held.length);
      failed.push(...away.behind.splice(0), ...away.held.splice(0));
      if (away.name !== null) ensure(names, away.queue, () => new Set<string>()).add(away.name);
    }
    const withdrawn = [...this.#lanes.values()].flatMap((lane) => lane.withdraw((one) => aways.has(one.away)));
    for (const [queue, sessions] of names) {
      const { unanswered, count } = queue.withdraw(sessions);
      this.options.left(count);
      failed.push(...unanswered);
    }
    this.options.fail(failed, error);
    // Not before: it has later operations of the bucket sent.
    for (const entry of withdrawn) this.#finish(entry);
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

function describeReason({ regions, cause }: WaitReason): string {
  const names = regions.length === 0 ? 'another region' : `region ${regions.join(', ')}`;
  if (cause === 'removed')
    return `near a milestone this metric of the post waits for ${names}, which counts it and is no longer in PEERS`;
  return `near a milestone this metric of the post waits until ${names} has confirmed who counts it`;
}

function describeSilence(region: string | null): string {
  if (region === null) return 'the store did not answer in time';
  return `near a milestone this metric of the post waits until region ${region}, which counts it, answers`;
}

function describeWait(region: string): string {
  return `near a milestone this metric of the post waits until region ${region}, which counts it, has the confirmation of all regions`;
}

function unavailable(problem: string): ErrorBody {
  return errorBody('UNAVAILABLE', `${problem}; retry with the same seq or key`, RETRY_MS);
}

function ensure<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = create()));
  return value;
}
