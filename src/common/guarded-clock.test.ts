import { beforeEach, describe, expect, it } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { FOLLOW_AFTER_MS, GuardedClock, JUMP_MAX_MS } from './guarded-clock.js';

const HOUR_MS = 3_600_000;

/** A machine whose wall clock can be set. */
class Machine extends SimulatedClock {
  offMs = 0;

  override wallMs(): number {
    return super.wallMs() + this.offMs;
  }

  get rightMs(): number {
    return super.wallMs();
  }
}

let machine: Machine;
let guarded: GuardedClock;
let log: string[];

beforeEach(() => {
  machine = new Machine();
  log = [];
  guarded = new GuardedClock(machine, (message) => log.push(message));
});

/** How far the guarded clock is off. */
function errorMs(): number {
  return guarded.wallMs() - machine.rightMs;
}

describe('a guarded clock', () => {
  it('the guarded clock follows a wall clock without jumps', () => {
    for (const off of [0, 20, -300, JUMP_MAX_MS - 300, 500]) {
      machine.spend(10_000);
      machine.offMs = off;
      expect(errorMs()).toBe(off);
    }
    expect(log).toEqual([]);
  });

  it.each([3 * HOUR_MS, -3 * HOUR_MS, JUMP_MAX_MS + 1, -JUMP_MAX_MS - 1])(
    'the guarded clock ignores a short jump by %d ms and logs it once',
    (jumpMs) => {
      machine.offMs = jumpMs;
      for (let i = 0; i < 10; i++) {
        machine.spend(1_000.25);
        expect(Math.abs(errorMs())).toBeLessThanOrEqual(1);
      }
      machine.offMs = 0;
      expect(errorMs()).toBe(0);
      machine.spend(FOLLOW_AFTER_MS);
      expect(errorMs()).toBe(0);
      expect(log).toHaveLength(1);
      expect(log[0]).toMatch(
        /^the wall clock jumped and is \d+ minutes (ahead|behind); data is stamped by the monotonic clock/,
      );
    },
  );

  it.each([8 * HOUR_MS, -8 * HOUR_MS])('the guarded clock follows a jump by %d ms that lasts', (jumpMs) => {
    machine.offMs = jumpMs;
    expect(errorMs()).toBe(0);
    machine.spend(FOLLOW_AFTER_MS - 1);
    expect(errorMs()).toBe(0);
    machine.spend(1);
    expect(errorMs()).toBe(jumpMs);
    machine.spend(10_000);
    expect(errorMs()).toBe(jumpMs);
    expect(log).toEqual([
      expect.stringContaining(`480 minutes ${jumpMs > 0 ? 'ahead' : 'behind'}`),
      `following the wall clock: it has been 480 minutes ${jumpMs > 0 ? 'ahead' : 'behind'} for 3 minutes`,
    ]);
  });

  it('each further jump starts the wait again, and jumps do not fill the log', () => {
    for (let i = 1; i <= 10; i++) {
      machine.offMs = i * HOUR_MS;
      expect(errorMs()).toBe(0);
      machine.spend(FOLLOW_AFTER_MS / 2);
    }
    expect(errorMs()).toBe(0);
    expect(log).toHaveLength(5);
  });

  it('the guarded clock passes on the monotonic clock and timers', async () => {
    let calls = 0;
    guarded.after(500, () => (calls += 1));
    guarded.soon(() => (calls += 1));
    await machine.advance(500);
    expect(calls).toBe(2);
    expect(guarded.nowMs()).toBe(500);
  });
});
