import type { Observable } from 'rxjs';
import { APPLIED, DUPLICATE, type Operation } from '../counters/operation.js';
import type { ErrorCode } from '../protocol/errors.js';
import type { CommittedBatch, RejectedOperations } from './ingest-events.js';

/** `accepted`: the event is in the log, and its effect is not known yet. */
export type OperationResult = 'applied' | 'unchanged' | 'duplicate' | 'accepted' | ErrorCode;
/** `unknown`: the request was rejected before its kind was parsed. */
export type OperationKind = Operation['kind'] | 'subscribe' | 'unknown';

/** Counts operations since boot by kind and result, for /metrics. */
export class OperationCounts {
  readonly #counts = new Map<OperationKind, Map<OperationResult, number>>();

  constructor(committed: Observable<CommittedBatch>, rejected: Observable<RejectedOperations>) {
    committed.subscribe(({ operations, outcomes, answeredFrom }) => {
      for (let i = answeredFrom; i < operations.length; i++)
        this.add(operations[i]!.kind, classifyOutcome(outcomes[i]!));
    });
    rejected.subscribe(({ operations, code }) => {
      for (const { kind } of operations) this.add(kind, code);
    });
  }

  /** Called from outside only for what never reaches ingest. */
  add(kind: OperationKind, result: OperationResult): void {
    let results = this.#counts.get(kind);
    if (results === undefined) this.#counts.set(kind, (results = new Map<OperationResult, number>()));
    results.set(result, (results.get(result) ?? 0) + 1);
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
