import { describe, expect, test } from '@jest/globals';
import { MessageBudget } from '../access/message-budget.js';
import { TokenBucket } from '../access/rate-limit.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { NO_UNITS, CONGESTED, Intake, type UnitWaiter } from './intake.js';
import { EVENTS_A_TURN, PacedReceiver } from './paced-receiver.js';
import { TurnCounter } from './transport/turns.js';

const UNITS = 100;

/** A connection whose client sends views, numbered, and of which it is noted what becomes of them. */
function world(operations = 0, address: TokenBucket | null = null) {
  const clock = new SimulatedClock();
  const waiting: UnitWaiter[] = [];
  const room = {
    clock,
    enqueue: (one: UnitWaiter) => void waiting.push(one),
    remove: () => undefined,
    reportSuspicion: () => undefined,
  };
  const intake = new Intake('203.0.113.9', new MessageBudget(operations, address, 0), room);
  const log: string[] = [];
  const unread: number[] = [];
  intake.owner = {
    pauseReading: () => {
      log.push('stop');
      return () => log.push('start');
    },
    excludePause: (forMs) => void unread.push(forMs),
    disconnectFlooding: () => void log.push('end'),
  };
  const taken: number[] = [];
  const receiver = new PacedReceiver(
    { act: (_act, _post, seq) => void taken.push(seq!), event: () => undefined },
    intake,
    new TurnCounter(clock),
  );
  const send = (count: number): void => {
    for (let i = 1; i <= count; i++) receiver.act('view', 'post', i, null);
  };
  return { clock, waiting, intake, log, unread, taken, receiver, send };
}

describe("a connection's events", () => {
  test('are taken a bounded number in a turn, in their order, and nothing is read meanwhile', async () => {
    const { clock, log, taken, send } = world();
    send(200);
    expect([taken.length, log]).toEqual([EVENTS_A_TURN, ['stop']]);
    await clock.advance(0);
    expect(taken).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(log).toEqual(['stop', 'start']);
  });

  test('that come a few in a turn never make it stop', async () => {
    const { clock, log, taken, send } = world();
    for (let i = 0; i < 20; i++) {
      send(EVENTS_A_TURN);
      await clock.advance(0);
    }
    expect([taken.length, log]).toEqual([20 * EVENTS_A_TURN, []]);
  });

  test('wait when their units are used up, until there are some again, and the time counts as unread', async () => {
    const address = new TokenBucket(UNITS, 0);
    const { clock, waiting, log, unread, taken, intake, send } = world(50, address);
    send(UNITS + 50);
    await clock.advance(0);
    expect(taken).toHaveLength(UNITS);
    expect([waiting.includes(intake), log]).toEqual([true, ['stop']]);
    await clock.advance(10);
    expect(intake.renew(clock.nowMs())).toBe(false);
    await clock.advance(2_000);
    expect(intake.renew(clock.nowMs())).toBe(true);
    expect(log).toEqual(['stop']);
    intake.proceed();
    await clock.advance(0);
    expect(Math.max(...unread)).toBe(2_010);
    expect(taken).toHaveLength(UNITS + 50);
  });

  test('wait while another reason is left', async () => {
    const { clock, log, taken, intake, send } = world();
    intake.pause(CONGESTED);
    intake.pause(NO_UNITS);
    send(3);
    intake.resume(CONGESTED);
    await clock.advance(0);
    expect([taken, log]).toEqual([[], ['stop']]);
    intake.resume(NO_UNITS);
    await clock.advance(0);
    expect([taken, log]).toEqual([
      [1, 2, 3],
      ['stop', 'start'],
    ]);
  });
});

describe('requests that wait for a connection to be read', () => {
  test('go on when it is, and when it is ended', () => {
    const { intake, log } = world();
    const went: string[] = [];
    intake.pause(NO_UNITS);
    intake.onceReading(() => went.push('read'));
    expect(went).toEqual([]);
    intake.resume(NO_UNITS);
    intake.pause(NO_UNITS);
    intake.onceReading(() => went.push('ended'));
    intake.disconnectFlooding();
    intake.onceReading(() => went.push('at once'));
    expect([went, log.at(-1)]).toEqual([['read', 'ended', 'at once'], 'end']);
  });
});
