import type { PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { Operation } from '../counters/operation.js';
import type { PendingOperation } from '../ingest/pending-operation.js';
import { type ErrorBody, ProtocolError } from '../protocol/errors.js';

/** The outcome of an operation over HTTP. */
export interface CommittedOperation {
  readonly counts: PostCounts;
  /** Outcome bits, see src/counters/operation.ts. */
  readonly outcome: number;
}

/** An operation of an HTTP request, on its way through ingest. The request waits for `done`. */
export class HttpOperation implements PendingOperation {
  acceptedAtMs = 0;
  readonly socketId = null;
  readonly notifiesActor: boolean;
  /** 1 with a session, which is then that of an Idempotency-Key: it has one operation. */
  readonly seq: number;
  /** Rejects with a ProtocolError. */
  readonly done: Promise<CommittedOperation>;
  #resolve!: (settled: CommittedOperation) => void;
  #reject!: (error: ProtocolError) => void;

  constructor(
    readonly post: string,
    readonly metric: number,
    readonly kind: Operation['kind'],
    readonly value: number,
    readonly actor: Key64 | null,
    readonly session: Key64 | null,
    readonly atS: number,
  ) {
    this.notifiesActor = actor !== null;
    this.seq = session === null ? 0 : 1;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  settled(outcome: number, counts: PostCounts): void {
    this.#resolve({ counts, outcome });
  }

  failed({ code, message, retryAfterMs }: ErrorBody): void {
    this.#reject(new ProtocolError(code, message, retryAfterMs));
  }
}
