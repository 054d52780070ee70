import { describe, expect, test } from '@jest/globals';
import type { Failure, OperationAnswer } from '../../src/protocol/messages.js';
import { type Line, LiveCountsError, Outbox } from './outbox.js';
import type { Operation, OperationName } from './wire.js';

const DONE: OperationAnswer = {
  ok: true,
  applied: true,
  duplicate: false,
  counts: { post: 'p', e: 'e', v: 1, live: 0 },
};

function refusal(code: 'OVERLOADED' | 'FORBIDDEN', retryAfterMs?: number): Failure {
  const error = { code, message: 'no', retryable: code === 'OVERLOADED' };
  return { ok: false, error: retryAfterMs === undefined ? error : { ...error, retryAfterMs } };
}

/** A line whose answers are written down beforehand; `null` is a lost connection. Then it answers `DONE`. */
class ScriptedLine implements Line {
  connected = true;
  readonly sent: { name: OperationName; seq: number; atMs: number }[] = [];

  constructor(private readonly script: (OperationAnswer | Failure | null)[] = []) {}

  send(name: OperationName, { seq }: Operation): Promise<OperationAnswer | Failure> {
    this.sent.push({ name, seq, atMs: performance.now() });
    const answer = this.script.shift();
    if (answer !== null) return Promise.resolve(answer ?? DONE);
    this.connected = false;
    return Promise.reject(new Error('the connection is lost'));
  }

  get seqs(): number[] {
    return this.sent.map(({ seq }) => seq);
  }
}

describe('the outbox', () => {
  test('numbers operations 1, 2, 3 and sends the next when the one before is answered', async () => {
    const line = new ScriptedLine();
    const outbox = new Outbox(line, 10);
    const all = [outbox.push('view', 'p'), outbox.push('like', 'p'), outbox.push('view', 'q')];
    expect(line.seqs).toEqual([1]);
    await Promise.all(all);
    expect(line.seqs).toEqual([1, 2, 3]);
    expect(line.sent.map(({ name }) => name)).toEqual(['view', 'like', 'view']);
  });

  test('a refused operation is sent again with its number when the gateway said, and nothing overtakes it', async () => {
    const line = new ScriptedLine([DONE, refusal('OVERLOADED', 50)]);
    const outbox = new Outbox(line, 10);
    await Promise.all([outbox.push('view', 'p'), outbox.push('view', 'p'), outbox.push('view', 'p')]);
    expect(line.seqs).toEqual([1, 2, 2, 3]);
    // Node's timers may be a millisecond early by this clock.
    expect(line.sent[2]!.atMs - line.sent[1]!.atMs).toBeGreaterThanOrEqual(49);
  });

  test('an operation whose connection was lost is sent again on the next one, before those behind it', async () => {
    const line = new ScriptedLine([null]);
    const outbox = new Outbox(line, 10);
    const all = [outbox.push('like', 'p'), outbox.push('view', 'p')];
    await outbox.drain();
    expect(line.seqs).toEqual([1]);
    line.connected = true;
    void outbox.drain();
    await Promise.all(all);
    expect(line.seqs).toEqual([1, 1, 2]);
  });

  test('a refusal for good rejects that operation and no other', async () => {
    const outbox = new Outbox(new ScriptedLine([refusal('FORBIDDEN')]), 10);
    const [first, second] = await Promise.allSettled([outbox.push('view', 'p'), outbox.push('view', 'p')]);
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'FORBIDDEN' } });
    expect(second.status).toBe('fulfilled');
  });

  test('a full outbox rejects what comes and keeps what it has', async () => {
    const line = new ScriptedLine([null]);
    const outbox = new Outbox(line, 2);
    const kept = [outbox.push('view', 'p'), outbox.push('view', 'p')];
    await expect(outbox.push('view', 'p')).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    await outbox.drain();
    line.connected = true;
    void outbox.drain();
    await Promise.all(kept);
    expect(line.seqs).toEqual([1, 1, 2]);
  });

  test('the intention is that of the last like or unlike that waits', async () => {
    const line = new ScriptedLine([null]);
    const outbox = new Outbox(line, 10);
    expect(outbox.intended('p')).toBeUndefined();
    const all = [
      outbox.push('like', 'p'),
      outbox.push('unlike', 'p'),
      outbox.push('view', 'p'),
      outbox.push('like', 'q'),
    ];
    expect([outbox.intended('p'), outbox.intended('q')]).toEqual([false, true]);
    await outbox.drain();
    line.connected = true;
    void outbox.drain();
    await Promise.all(all);
    expect(outbox.intended('p')).toBeUndefined();
  });

  test('failing it ends the wait for a retry, too', async () => {
    const line = new ScriptedLine([refusal('OVERLOADED', 3_600_000)]);
    const outbox = new Outbox(line, 10);
    const lost = outbox.push('view', 'p');
    await new Promise(setImmediate);
    outbox.fail(new LiveCountsError('CLOSED', 'closed'));
    await expect(lost).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(outbox.push('view', 'p')).resolves.toEqual(DONE);
    expect(line.seqs).toEqual([1, 2]);
  });
});
