import type { ErrorBody, ErrorCode } from '../../src/protocol/errors.js';
import type { Failure, OperationAnswer } from '../../src/protocol/messages.js';
import { type Operation, type OperationName, RETRY_MS } from './wire.js';

/** `CLOSED` and `QUEUE_FULL` are this client's own; the others come from the gateway. */
export class LiveCountsError extends Error {
  override readonly name = 'LiveCountsError';

  constructor(
    readonly code: ErrorCode | 'CLOSED' | 'QUEUE_FULL',
    message: string,
  ) {
    super(message);
  }

  static from(error: ErrorBody): LiveCountsError {
    return new LiveCountsError(error.code, error.message);
  }
}

/** The way to the gateway. `send` rejects when the connection is lost or no answer came in time. */
export interface Line {
  readonly connected: boolean;
  send(name: OperationName, operation: Operation): Promise<OperationAnswer | Failure>;
}

interface Pending {
  readonly name: OperationName;
  readonly post: string;
  readonly seq: number;
  resolve(answer: OperationAnswer): void;
  reject(error: LiveCountsError): void;
}

/**
 * Operations that are not acknowledged yet, in the order of their numbers.
 *
 *   push -> [ 7 | 8 | 9 ]   7 is on the line, 8 and 9 wait for its answer
 *             |
 *             ok, or refused for good -> settled, 8 goes out
 *             refused for now         -> 7 again after `retryAfterMs`
 *             connection lost         -> 7 again after the next `drain`
 *
 * One at a time, which costs a round trip each: the gateway remembers the last number of a session, so were 8 counted
 * behind a refused 7, the retry of 7 would be taken for a duplicate and never be counted.
 */
export class Outbox {
  private readonly pending: Pending[] = [];
  private lastSeq = 0;
  private draining = false;
  private wake: (() => void) | undefined;

  constructor(
    private readonly line: Line,
    private readonly pendingMax: number,
  ) {}

  push(name: OperationName, post: string): Promise<OperationAnswer> {
    if (this.pending.length >= this.pendingMax) {
      const message = `${this.pendingMax} operations already wait for the gateway; call again when some are acknowledged`;
      return Promise.reject(new LiveCountsError('QUEUE_FULL', message));
    }
    return new Promise((resolve, reject) => {
      this.pending.push({ name, post, seq: ++this.lastSeq, resolve, reject });
      void this.drain();
    });
  }

  /** What the last waiting like or unlike of a post will make of it; undefined when none waits. */
  intended(post: string): boolean | undefined {
    const last = this.pending.findLast((operation) => operation.post === post && operation.name !== 'view');
    return last && last.name === 'like';
  }

  /** Sends what waits until nothing does or the connection is lost; to be called on every connect. */
  async drain(): Promise<void> {
    if (this.draining) return;
    this.draining = true;
    for (let head = this.pending[0]; head && this.line.connected; head = this.pending[0]) {
      const answer = await this.line.send(head.name, { post: head.post, seq: head.seq }).catch(() => undefined);
      // No answer says nothing about the outcome, and `fail` may have emptied the queue meanwhile.
      if (answer === undefined || head !== this.pending[0]) continue;
      if (!answer.ok && answer.error.retryable) await this.pause(answer.error.retryAfterMs ?? RETRY_MS);
      else this.settle(this.pending.shift()!, answer);
    }
    this.draining = false;
  }

  /** Rejects everything that waits. */
  fail(error: LiveCountsError): void {
    for (const operation of this.pending.splice(0)) operation.reject(error);
    this.wake?.();
  }

  private settle(operation: Pending, answer: OperationAnswer | Failure): void {
    if (answer.ok) operation.resolve(answer);
    else operation.reject(LiveCountsError.from(answer.error));
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
