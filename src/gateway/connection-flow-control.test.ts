import { describe, expect, test } from '@jest/globals';
import { MessageBudget } from '../access/message-budget.js';
import { TokenBucket } from '../access/rate-limit.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { CONGESTED, FlowControl, NO_UNITS } from './connection-flow-control.js';
import { EVENTS_A_TURN, PacedReceiver } from './paced-receiver.js';
import { TurnCounter } from './transport/turn-counter.js';
import type { UnitWaiter } from './waiting-senders.js';

const UNITS = 100;

/** A connection whose client sends numbered views, with a record of those that were handled and of pauses. */
function world(operations = 0, address: TokenBucket | null = null) {
  const clock = new SimulatedClock();
  const waiting: UnitWaiter[] = [];
  const queue = {
    clock,
    enqueue: (waiter: UnitWaiter) => void waiting.push(waiter),
    remove: () => undefined,
    reportSuspicion: () => undefined,
  };
  const flowControl = new FlowControl('203.0.113.9', new MessageBudget(operations, address, 0), queue);
  const log: string[] = [];
  const pausesMs: number[] = [];
  flowControl.owner = {
    pauseReading: () => {
      log.push('pause');
      return () => log.push('resume');
    },
    excludePause: (forMs) => void pausesMs.push(forMs),
    disconnectFlooding: () => void log.push('end'),
  };
  const handled: number[] = [];
  const receiver = new PacedReceiver(
    { act: (_act, _post, seq) => void handled.push(seq!), event: () => undefined },
    flowControl,
    new TurnCounter(clock),
  );
  const send = (count: number): void => {
    for (let i = 1; i <= count; i++) receiver.act('view', 'post', i, null);
  };
  return { clock, waiting, flowControl, log, pausesMs, handled, receiver, send };
}

describe('a connection', () => {
  test('a connection handles a bounded number of events in a turn, in order, and is not read meanwhile', async () => {
    const { clock, log, handled, send } = world();
    send(200);
    expect([handled.length, log]).toEqual([EVENTS_A_TURN, ['pause']]);
    await clock.advance(0);
    expect(handled).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(log).toEqual(['pause', 'resume']);
  });

  test('events that arrive a few in a turn never pause the connection', async () => {
    const { clock, log, handled, send } = world();
    for (let i = 0; i < 20; i++) {
      send(EVENTS_A_TURN);
      await clock.advance(0);
    }
    expect([handled.length, log]).toEqual([20 * EVENTS_A_TURN, []]);
  });

  test('events without units wait until some are renewed, and the time is excluded as a pause', async () => {
    const address = new TokenBucket(UNITS, 0);
    const { clock, waiting, log, pausesMs, handled, flowControl, send } = world(50, address);
    send(UNITS + 50);
    await clock.advance(0);
    expect(handled).toHaveLength(UNITS);
    expect([waiting.includes(flowControl), log]).toEqual([true, ['pause']]);
    await clock.advance(10);
    expect(flowControl.renew(clock.nowMs())).toBe(false);
    await clock.advance(2_000);
    expect(flowControl.renew(clock.nowMs())).toBe(true);
    expect(log).toEqual(['pause']);
    flowControl.proceed();
    await clock.advance(0);
    expect(Math.max(...pausesMs)).toBe(2_010);
    expect(handled).toHaveLength(UNITS + 50);
  });

  test('a connection stays paused while one of several reasons is left', async () => {
    const { clock, log, handled, flowControl, send } = world();
    flowControl.pause(CONGESTED);
    flowControl.pause(NO_UNITS);
    send(3);
    flowControl.resume(CONGESTED);
    await clock.advance(0);
    expect([handled, log]).toEqual([[], ['pause']]);
    flowControl.resume(NO_UNITS);
    await clock.advance(0);
    expect([handled, log]).toEqual([
      [1, 2, 3],
      ['pause', 'resume'],
    ]);
  });
});

describe('onceReading', () => {
  test('requests that wait for a connection continue when it is read again, and when it has ended', () => {
    const { flowControl, log } = world();
    const went: string[] = [];
    flowControl.pause(NO_UNITS);
    flowControl.onceReading(() => went.push('read'));
    expect(went).toEqual([]);
    flowControl.resume(NO_UNITS);
    flowControl.pause(NO_UNITS);
    flowControl.onceReading(() => went.push('ended'));
    flowControl.disconnectFlooding();
    flowControl.onceReading(() => went.push('at once'));
    expect([went, log.at(-1)]).toEqual([['read', 'ended', 'at once'], 'end']);
  });
});
