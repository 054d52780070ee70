import type { Failure } from '../../src/protocol/messages.js';
import type { Clock } from '../src/environment.js';
import { Session } from '../src/session.js';
import type { Acknowledgement, TransportConnection, ClientOperation } from '../src/transport.js';

/** A clock that only `pass` moves. */
class ManualClock implements Clock {
  readonly #timers = new Map<object, { readonly atMs: number; readonly call: () => void }>();
  #nowMs = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  after(ms: number, call: () => void) {
    const timer = { cancel: () => this.#timers.delete(timer) };
    this.#timers.set(timer, { atMs: this.#nowMs + ms, call });
    return timer;
  }

  frame(call: () => void): void {
    this.after(0, call);
  }

  pass(ms: number): void {
    this.#nowMs += ms;
    for (const [timer, { atMs, call }] of this.#timers) {
      if (atMs > this.#nowMs) continue;
      this.#timers.delete(timer);
      call();
    }
  }
}

/** A connection that answers only by `answer`. */
export class ManualConnection implements TransportConnection {
  readonly seqs: number[] = [];
  readonly #waiting: {
    seq: number;
    resolve: (answer: Acknowledgement | Failure) => void;
    reject: (error: Error) => void;
  }[] = [];

  operate({ seq }: ClientOperation): Promise<Acknowledgement | Failure> {
    this.seqs.push(seq);
    return new Promise((resolve, reject) => this.#waiting.push({ seq, resolve, reject }));
  }

  /** Answers the first request without an answer, or the first one of this seq. */
  async answer(answer: Acknowledgement | Failure = { ok: true }, seq = this.#waiting[0]!.seq): Promise<void> {
    this.#take(seq).resolve(answer);
    await settled();
  }

  async lose(): Promise<void> {
    this.#take(this.#waiting[0]!.seq).reject(new Error('lost'));
    await settled();
  }

  #take(seq: number) {
    const at = this.#waiting.findIndex((request) => request.seq === seq);
    return this.#waiting.splice(at, 1)[0]!;
  }

  subscribe(): never {
    throw new Error('nobody subscribes here');
  }

  unsubscribe(): void {
    this.subscribe();
  }

  close(): void {
    this.#waiting.length = 0;
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function refusal(code: 'OVERLOADED' | 'FORBIDDEN', retryAfterMs?: number): Failure {
  const error = { code, message: 'no', retryable: code === 'OVERLOADED' };
  return { ok: false, error: retryAfterMs === undefined ? error : { ...error, retryAfterMs } };
}

/** A session, the clock that it goes by, and its progress. */
export function begin() {
  const clock = new ManualClock();
  const progress: string[] = [];
  const http = new ManualConnection();
  const listener = {
    sent: ({ seq }: ClientOperation) => progress.push(`sent ${seq}`),
    acknowledged: ({ seq }: ClientOperation) => progress.push(`acknowledged ${seq}`),
    refused: ({ seq }: ClientOperation) => progress.push(`refused ${seq}`),
  };
  const session = new Session(clock, listener, (operation) => http.operate(operation));
  const done: Promise<void>[] = [];
  /** Makes additions, and ends the frame. */
  const push = (count: number, post = 'p'): void => {
    for (let n = 0; n < count; n++) done.push(session.push(post, 'views', 1).done);
    clock.pass(0);
  };
  const toggle = (post: string, on: boolean): Promise<void> => {
    const set = session.push(post, 'likes', on).done;
    session.send();
    return set;
  };
  return { clock, session, http, progress, done, push, toggle };
}
