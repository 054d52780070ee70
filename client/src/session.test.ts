import { describe, expect, test } from '@jest/globals';
import { begin, ManualConnection, refusal } from '../test/manual-session.js';

describe('a session over a socket', () => {
  test('operations are numbered 1, 2, 3 and sent without waiting for acknowledgements', async () => {
    const { session, done, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    push(3);
    expect(connection.seqs).toEqual([1, 2, 3]);
    for (let n = 0; n < 3; n++) await connection.answer();
    await Promise.all(done);
    expect(connection.seqs).toEqual([1, 2, 3]);
  });

  test('fifty operations at most are on their way, and each acknowledgement lets another one go', async () => {
    const { session, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    push(60);
    expect(connection.seqs).toHaveLength(50);
    await connection.answer();
    expect(connection.seqs.at(-1)).toBe(51);
  });

  test('additions wait for the frame, and a toggle goes at once with what stands before it on its post', () => {
    const { clock, session, toggle } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    const posts = (): string[] => session.unacknowledged.map(({ post, metric }) => `${post} ${metric}`);
    for (const post of ['a', 'b', 'c']) session.push(post, 'views', 1);
    session.send();
    expect(connection.seqs).toEqual([]);
    void toggle('b', true);
    expect(connection.seqs).toEqual([1, 2]);
    expect(posts()).toEqual(['b views', 'b likes', 'a views', 'c views']);
    clock.pass(0);
    expect(connection.seqs).toEqual([1, 2, 3, 4]);
    expect(posts()).toEqual(['b views', 'b likes', 'a views', 'c views']);
  });

  test('before the first connection posts with a toggle come first, each in the order of its operations', () => {
    const { session, push, toggle } = begin();
    push(1, 'a');
    push(1, 'b');
    void toggle('b', true);
    push(1, 'b');
    session.attach(new ManualConnection(), 'socket');
    const sent = session.unacknowledged.map(({ id, seq }) => [seq, id]);
    expect(sent).toEqual([
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 1],
    ]);
  });

  test('after a retryable error nothing is sent until retryAfterMs, then everything in the order of seq', async () => {
    const { clock, session, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    push(3);
    await connection.answer();
    await connection.answer(refusal('OVERLOADED', 700));
    push(1);
    clock.pass(699);
    expect(connection.seqs).toEqual([1, 2, 3]);
    await connection.answer(refusal('OVERLOADED', 700));
    clock.pass(1);
    expect(connection.seqs).toEqual([1, 2, 3, 2, 3, 4]);
  });

  test('an operation that was sent twice is acknowledged by its first answer, and the second one is ignored', async () => {
    const { clock, session, progress, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    push(2);
    await connection.answer(refusal('OVERLOADED', 1));
    clock.pass(1);
    expect(connection.seqs).toEqual([1, 2, 1, 2]);
    for (const seq of [2, 1, 2]) await connection.answer({ ok: true }, seq);
    expect(progress.slice(-2)).toEqual(['acknowledged 2', 'acknowledged 1']);
  });

  test('a final error rejects only its operation, at once, while others are on their way', async () => {
    const { session, progress, done, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    push(3);
    const rejected = expect(done[1]).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await connection.answer(refusal('FORBIDDEN'), 2);
    await rejected;
    expect(progress).toEqual(['sent 1', 'sent 2', 'sent 3', 'refused 2']);
    expect(connection.seqs).toEqual([1, 2, 3]);
  });

  test('unacknowledged operations go out first over the next connection, with their seq', async () => {
    const { session, push } = begin();
    const [first, second] = [new ManualConnection(), new ManualConnection()];
    session.attach(first, 'socket');
    push(2);
    session.detach();
    await first.lose();
    push(1);
    session.attach(second, 'socket');
    expect([first.seqs, second.seqs]).toEqual([
      [1, 2],
      [1, 2, 3],
    ]);
  });

  test('a late answer of a replaced connection has no effect', async () => {
    const { session, progress, push } = begin();
    const [first, second] = [new ManualConnection(), new ManualConnection()];
    session.attach(first, 'socket');
    push(1);
    session.attach(second, 'socket');
    await first.answer();
    expect(progress).toEqual(['sent 1', 'sent 1']);
    await second.answer();
    expect(progress).toEqual(['sent 1', 'sent 1', 'acknowledged 1']);
  });

  test('operations that a listener makes while others are sent follow them', () => {
    const { clock, session, push, progress } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'socket');
    let isFirst = true;
    progress.push = () => {
      if (isFirst) {
        isFirst = false;
        void session.push('p', 'likes', true);
        session.send();
      }
      return 0;
    };
    push(3);
    clock.pass(0);
    expect(connection.seqs).toEqual([1, 2, 3, 4]);
  });
});

test('a session queues a thousand operations at most, and accepts more once some are acknowledged', async () => {
  const { session, push } = begin();
  push(1_000);
  expect(() => session.push('p', 'views', 1)).toThrow(expect.objectContaining({ code: 'QUEUE_FULL' }));
  const connection = new ManualConnection();
  session.attach(connection, 'socket');
  await connection.answer();
  expect(session.push('p', 'views', 1).operation.id).toBe(1_001);
});
