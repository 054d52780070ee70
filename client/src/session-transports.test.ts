import { describe, expect, test } from '@jest/globals';
import { begin, ManualConnection } from '../test/manual-session.js';

describe('a session over HTTP', () => {
  test('posts do not wait for each other, five at a time, and a post has one request', async () => {
    const { session, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'events');
    for (const post of ['a', 'a', 'b', 'c', 'd', 'e', 'f']) push(1, post);
    const sent = (): string[] => session.unacknowledged.filter(({ sentOver }) => sentOver).map(({ post }) => post);
    expect(sent().join('')).toBe('abcde');
    await connection.answer();
    expect(sent().join('')).toBe('bcdea');
    await connection.answer();
    expect(sent().join('')).toBe('cdeaf');
  });

  test('an operation without an answer is retried over the same connection, and others go on', async () => {
    const { clock, session, push } = begin();
    const connection = new ManualConnection();
    session.attach(connection, 'events');
    push(1);
    await connection.lose();
    push(1, 'q');
    expect(connection.seqs).toEqual([1, 2]);
    clock.pass(1_000);
    expect(connection.seqs).toEqual([1, 2, 1]);
  });
});

describe('a session that changes its transport', () => {
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
    expect([socket.seqs, events.seqs, again.seqs]).toEqual([[1, 2], [], [1, 2]]);
    expect(progress.at(-1)).toBe('acknowledged 2');
  });

  test('operations on other posts go over HTTP while one waits for a socket', () => {
    const { session, push } = begin();
    const [socket, events] = [new ManualConnection(), new ManualConnection()];
    session.attach(socket, 'socket');
    push(1);
    session.attach(events, 'events');
    push(1);
    push(1, 'q');
    expect(events.seqs).toEqual([2]);
    expect(session.unacknowledged.map(({ post }) => post)).toEqual(['p', 'p', 'q']);
  });

  test('without a socket for a minute a toggle is set again over HTTP, and an addition is rejected as unknown', async () => {
    const { clock, session, http, done, push, toggle } = begin();
    const [socket, events, again] = [new ManualConnection(), new ManualConnection(), new ManualConnection()];
    session.attach(socket, 'socket');
    push(1);
    const set = toggle('p', true);
    session.attach(events, 'events');
    const rejected = expect(done[0]).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    clock.pass(59_999);
    expect(events.seqs).toEqual([]);
    clock.pass(1);
    await rejected;
    // Its old number means the operation over the socket.
    expect(events.seqs).toEqual([3]);
    session.attach(again, 'socket');
    expect([again.seqs, http.seqs]).toEqual([[], [3]]);
    await http.answer();
    await set;
  });

  test('a toggle is not set again after a later one of its post that was sent', async () => {
    const { clock, session, toggle } = begin();
    const [socket, events] = [new ManualConnection(), new ManualConnection()];
    session.attach(socket, 'socket');
    const liked = toggle('p', true);
    const unliked = toggle('p', false);
    const other = toggle('q', true);
    session.attach(events, 'events');
    const rejected = expect(liked).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    clock.pass(60_000);
    await rejected;
    expect(events.seqs).toEqual([4, 5]);
    await events.answer();
    await events.answer();
    await Promise.all([unliked, other]);
  });

  test('operations marked as sent before the first connection go over HTTP, later ones of their post wait for them', async () => {
    const { session, http, push } = begin();
    push(1);
    push(1, 'q');
    session.markAllSent();
    push(1);
    push(1, 'r');
    expect(session.unacknowledged.map(({ sentOver }) => sentOver)).toEqual(['events', 'events', undefined, undefined]);
    const socket = new ManualConnection();
    session.attach(socket, 'socket');
    expect([http.seqs, socket.seqs]).toEqual([[1, 2], [3]]);
    await http.answer();
    expect(socket.seqs).toEqual([3, 4]);
  });

  test('the socket keeps the order of what was marked as sent behind an operation over HTTP', async () => {
    const { session, http, push } = begin();
    push(1);
    session.markAllSent();
    const [first, second] = [new ManualConnection(), new ManualConnection()];
    session.attach(first, 'socket');
    push(1);
    push(1, 'q');
    expect([http.seqs, first.seqs]).toEqual([[1], [2]]);
    session.markAllSent();
    session.attach(second, 'socket');
    // 2 is on q, and 3, on p, waits for 1.
    expect(second.seqs).toEqual([2]);
    push(1, 'r');
    expect(second.seqs).toEqual([2]);
    // The answer to the second connection's request: the first one is gone.
    for (let n = 0; n < 2; n++) await http.answer();
    expect(second.seqs).toEqual([2, 3, 4]);
  });

  test('an operation too old to be recognised is retried only if it is a toggle', async () => {
    const { clock, session, done, push, toggle } = begin();
    const [first, second, third] = [new ManualConnection(), new ManualConnection(), new ManualConnection()];
    session.attach(first, 'socket');
    push(1);
    const unliked = toggle('p', false);
    session.detach();
    const rejected = expect(done[0]).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    clock.pass(3_600_000);
    session.attach(second, 'socket');
    await rejected;
    expect(second.seqs).toEqual([3]);
    session.detach();
    clock.pass(3_600_000);
    session.attach(third, 'socket');
    expect(third.seqs).toEqual([4]);
    await third.answer();
    await unliked;
  });
});
