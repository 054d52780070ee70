import { APPLIED, DUPLICATE, type Operation } from '../counters/operation.js';
import type { ErrorCode } from '../protocol/errors.js';

export type OperationResult = 'applied' | 'unchanged' | 'duplicate' | ErrorCode;
/** `unknown`: refused before it was known what was asked. */
export type OperationKind = Operation['kind'] | 'subscribe' | 'unknown';

/** How operations ended since boot, by kind and result: what /metrics shows. */
export class OperationCounts {
  readonly #counts = new Map<OperationKind, Map<OperationResult, number>>();

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

export function classifyOutcome(outcome: number): OperationResult {
  if ((outcome & APPLIED) !== 0) return 'applied';
  return (outcome & DUPLICATE) !== 0 ? 'duplicate' : 'unchanged';
}
