import type { PendingOperation } from './pending-operation.js';

/** Operations that will be committed as one batch. */
export interface OpenBatch {
  readonly operations: PendingOperation[];
  /** When its first operation came, on the monotonic clock. */
  readonly openedAtMs: number;
  /** How many of them, from the first on, missed their deadline: who asked was told, and is not answered again. */
  told: number;
}

/**
 * The operations of one bucket, in the order they came: at most one batch in flight, others behind it.
 *
 *     op op op →  [ filling ]  [ full ] …  →  in flight  →  store
 *                  waiting                     the same batch, again, until it is confirmed
 */
export class Lane {
  readonly waiting: OpenBatch[] = [];
  inFlight: OpenBatch | null = null;
  /** Number of the last batch that was sent: its fence. */
  n = 0;

  constructor(readonly bucket: number) {}

  /** @returns whether the batch at the head is full, and so need not wait for company. */
  add(operation: PendingOperation, nowMs: number, batchMax: number): boolean {
    const last = this.waiting.at(-1);
    if (last === undefined || last.operations.length >= batchMax) {
      this.waiting.push({ operations: [operation], openedAtMs: nowMs, told: 0 });
    } else last.operations.push(operation);
    return this.waiting[0]!.operations.length >= batchMax;
  }

  get busy(): boolean {
    return this.inFlight !== null || this.waiting.length > 0;
  }

  /** Operations that have waited since `sinceMs` or longer, each once: they count as told. */
  *overdue(sinceMs: number): Iterable<PendingOperation> {
    const batches = this.inFlight === null ? this.waiting : [this.inFlight, ...this.waiting];
    for (const batch of batches) {
      while (batch.told < batch.operations.length) {
        const operation = batch.operations[batch.told]!;
        if (operation.acceptedAtMs > sinceMs) return;
        batch.told += 1;
        yield operation;
      }
    }
  }
}
