import { describe, expect, test } from '@jest/globals';
import type { Failure } from '../../src/protocol/messages.js';
import type { Clock } from './environment.js';
import { Session } from './session.js';
import type { Acknowledgement, TransportConnection, ClientOperation } from './transport.js';

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
class ManualConnection implements TransportConnection {
  readonly seqs: number[] = [];
  readonly #waiting: { resolve: (answer: Acknowledgement | Failure) => void; reject: (error: Error) => void }[] = [];

  operate({ seq }: ClientOperation): Promise<Acknowledgement | Failure> {
    this.seqs.push(seq);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async answer(answer: Acknowledgement | Failure = { ok: true }): Promise<void> {
    this.#waiting.shift()!.resolve(answer);
    await settled();
  }

  async lose(): Promise<void> {
    this.#waiting.shift()!.reject(new Error('lost'));
    await settled();
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

function refusal(code: 'OVERLOADED' | 'FORBIDDEN', retryAfterMs?: number): Failure {
  const error = { code, message: 'no', retryable: code === 'OVERLOADED' };
  return { ok: false, error: retryAfterMs === undefined ? error : { ...error, retryAfterMs } };
}

function begin() {
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
  const push = (count: number): void => {
    for (let n = 0; n < count; n++) done.push(session.push('p', 'views', 1).done);
    session.sendNext();
  };
  return { clock, session, http, progress, done, push };
}

describe('a session', () => {
  test('a session numbers operations 1, 2, 3 and sends one when the previous one is answered', async () => {
    const { session, done, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    push(3);
    expect(connection.seqs).toEqual([1]);
    for (let n = 0; n < 3; n++) await connection.answer();
    expect(connection.seqs).toEqual([1, 2, 3]);
    await Promise.all(done);
  });

  test('a retryable error is retried after retryAfterMs, and no operation overtakes it', async () => {
    const { clock, session, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    push(2);
    await connection.answer(refusal('OVERLOADED', 700));
    clock.pass(699);
    expect(connection.seqs).toEqual([1]);
    clock.pass(1);
    expect(connection.seqs).toEqual([1, 1]);
    await connection.answer();
    expect(connection.seqs).toEqual([1, 1, 2]);
  });

  test('a final error rejects only its operation', async () => {
    const { session, progress, done, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    push(2);
    const rejected = expect(done[0]).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await connection.answer(refusal('FORBIDDEN'));
    await connection.answer();
    await rejected;
    await done[1];
    expect(progress).toEqual(['sent 1', 'refused 1', 'sent 2', 'acknowledged 2']);
  });

  test('an unacknowledged operation goes out first over the next connection, with its seq', async () => {
    const { session, push } = begin();
    const [first, second] = [new ManualConnection(), new ManualConnection()];
    session.attach(first, 'socket');
    push(2);
    session.detach();
    await first.lose();
    push(1);
    session.attach(second, 'socket');
    for (let n = 0; n < 3; n++) await second.answer();
    expect([first.seqs, second.seqs]).toEqual([[1], [1, 2, 3]]);
  });

  test('a late answer of a replaced connection has no effect', async () => {
    const { session, progress, push } = begin();
    const [first, second] = [new ManualConnection(), new ManualConnection()];
    session.attach(first, 'socket');
    push(2);
    session.attach(second, 'socket');
    await first.answer();
    expect(second.seqs).toEqual([1]);
    await second.answer();
    expect(progress).toEqual(['sent 1', 'sent 1', 'acknowledged 1', 'sent 2']);
  });

  test('an operation without an answer is retried over the same connection', async () => {
    const { clock, session, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'events');
    push(1);
    await connection.lose();
    clock.pass(1_000);
    expect(connection.seqs).toEqual([1, 1]);
  });

  test('an operation with an unknown outcome over a socket waits for another one, which recognises it', async () => {
    const { clock, session, progress, push } = begin();
    const [socket, events, again] = [new ManualConnection(), new ManualConnection(), new ManualConnection()];
    session.attach(socket, 'socket');
    push(2);
    session.attach(events, 'events');
    expect(events.seqs).toEqual([]);
    session.attach(again, 'socket');
    clock.pass(60_000);
    for (let n = 0; n < 2; n++) await again.answer();
    expect([socket.seqs, events.seqs, again.seqs]).toEqual([[1], [], [1, 2]]);
    expect(progress.at(-1)).toBe('acknowledged 2');
  });

  test('without a socket for a minute a toggle is set again over HTTP, and an addition is rejected as unknown', async () => {
    const { clock, session, http, done, push } = begin();
    const [socket, events, again] = [new ManualConnection(), new ManualConnection(), new ManualConnection()];
    session.attach(socket, 'socket');
    push(1);
    const set = session.push('p', 'likes', true).done;
    session.markAllSent();
    session.attach(events, 'events');
    const rejected = expect(done[0]).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    clock.pass(59_999);
    expect(events.seqs).toEqual([]);
    clock.pass(1);
    await rejected;
    clock.pass(60_000);
    expect(events.seqs).toEqual([2]);
    session.attach(again, 'socket');
    expect([again.seqs, http.seqs]).toEqual([[], [2]]);
    await http.answer();
    await set;
  });

  test('a toggle is not set again after a later one that has left with the page', async () => {
    const { clock, session } = begin();
    const [socket, events] = [new ManualConnection(), new ManualConnection()];
    session.attach(socket, 'socket');
    const liked = session.push('p', 'likes', true).done;
    const unliked = session.push('p', 'likes', false).done;
    session.markAllSent();
    session.attach(events, 'events');
    const rejected = expect(liked).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    clock.pass(60_000);
    await rejected;
    clock.pass(60_000);
    expect(events.seqs).toEqual([2]);
    await events.answer();
    await unliked;
  });

  test('operations marked as sent before the first connection go over HTTP, later ones over the socket', async () => {
    const { session, http, push } = begin();
    push(2);
    session.markAllSent();
    push(1);
    expect(session.unacknowledged.map(({ sentOver }) => sentOver)).toEqual(['events', 'events', undefined]);
    const socket = new ManualConnection();
    session.attach(socket, 'socket');
    for (let n = 0; n < 2; n++) await http.answer();
    expect([http.seqs, socket.seqs]).toEqual([[1, 2], [3]]);
  });

  test('an operation too old to be recognised is retried only if it is a toggle', async () => {
    const { clock, session, done, push } = begin();
    const [first, second] = [new ManualConnection(), new ManualConnection()];
    const liked = session.push('p', 'likes', true).done;
    push(1);
    session.attach(first, 'socket');
    await first.answer();
    await liked;
    session.detach();
    const rejected = expect(done[0]).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    const unliked = session.push('p', 'likes', false).done;
    clock.pass(3_600_000);
    session.attach(second, 'socket');
    await rejected;
    expect(second.seqs).toEqual([3]);
    clock.pass(3_600_000);
    const third = new ManualConnection();
    session.attach(third, 'socket');
    expect(third.seqs).toEqual([3]);
    await third.answer();
    await unliked;
  });

  test('a session queues a thousand operations at most, and accepts more once some are acknowledged', async () => {
    const { session, push } = begin();
    push(1_000);
    expect(() => session.push('p', 'views', 1)).toThrow(expect.objectContaining({ code: 'QUEUE_FULL' }));
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    await connection.answer();
    expect(session.push('p', 'views', 1).operation.seq).toBe(1_001);
  });
});
