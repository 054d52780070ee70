import { EMPTY, type Observable } from 'rxjs';
import { APPLIED, DUPLICATE, type Operation } from '../counters/operation.js';
import type { ErrorCode } from '../protocol/errors.js';
import type { CommittedBatch, ForwardedOutcome, RejectedOperations } from './ingest-events.js';
import type { PendingOperation } from './pending-operation.js';

/** `accepted`: the event is in the log, and its effect is not known yet. */
export type OperationResult = 'applied' | 'unchanged' | 'duplicate' | 'accepted' | ErrorCode;
/** `unknown`: the request was rejected before its kind was parsed. */
export type OperationKind = Operation['kind'] | 'subscribe' | 'unknown';

/**
 * Counts operations since boot by kind and result, for /metrics. Each is counted once, in the region that answers its client; another
 * region that does it counts it apart.
 */
export class OperationCounts {
  readonly #counts = new Map<OperationKind, Map<OperationResult, number>>();
  /** Counts of operations that other regions have forwarded to this one. */
  readonly #fromPeers = new Map<OperationResult, number>();

  constructor(
    committed: Observable<CommittedBatch>,
    rejected: Observable<RejectedOperations>,
    forwarded: Observable<ForwardedOutcome> = EMPTY,
  ) {
    committed.subscribe(({ operations, outcomes, answeredFrom }) => {
      for (let i = answeredFrom; i < operations.length; i++) this.#count(operations[i]!, classifyOutcome(outcomes[i]!));
    });
    forwarded.subscribe(({ operation, outcome }) => this.#count(operation, classifyOutcome(outcome)));
    rejected.subscribe(({ operations, code }) => {
      for (const operation of operations) this.#count(operation, code);
    });
  }

  /** Called from outside only for what never reaches ingest. */
  add(kind: OperationKind, result: OperationResult): void {
    let results = this.#counts.get(kind);
    if (results === undefined) this.#counts.set(kind, (results = new Map<OperationResult, number>()));
    results.set(result, (results.get(result) ?? 0) + 1);
  }

  get fromPeers(): ReadonlyMap<OperationResult, number> {
    return this.#fromPeers;
  }

  #count(operation: PendingOperation, result: OperationResult): void {
    if (operation.isForwarded === true) this.#fromPeers.set(result, (this.#fromPeers.get(result) ?? 0) + 1);
    else this.add(operation.kind, result);
  }

  *entries(): Iterable<{ kind: OperationKind; result: OperationResult; count: number }> {
    for (const [kind, results] of this.#counts) {
      for (const [result, count] of results) yield { kind, result, count };
    }
  }
}

function classifyOutcome(outcome: number): OperationResult {
  if ((outcome & APPLIED) !== 0) return 'applied';
  return (outcome & DUPLICATE) !== 0 ? 'duplicate' : 'unchanged';
}
