import { describe, expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { SuspicionLog } from './suspicion-log.js';

const HOUR_MS = 3_600_000;
const REMEMBERED_MAX = 10_000;

function suspicions(): { clock: SimulatedClock; lines: string[]; suspicions: SuspicionLog } {
  const clock = new SimulatedClock();
  const lines: string[] = [];
  return { clock, lines, suspicions: new SuspicionLog(clock, (line) => lines.push(line)) };
}

describe('suspicions', () => {
  test('every suspicion is counted, and an address is logged once for each kind', () => {
    const { lines, suspicions: all } = suspicions();
    for (let i = 0; i < 5; i++) all.add('flood', '203.0.113.9');
    all.add('fragments', '203.0.113.9');
    all.add('flood', '203.0.113.8');
    expect([...all.entries()]).toEqual([
      ['flood', 6],
      ['fragments', 1],
    ]);
    expect(lines).toHaveLength(3);
    expect(lines[0]).toContain('suspicious (flood): address 203.0.113.9 keeps sending');
  });

  test('an address is logged again after an hour', async () => {
    const { clock, lines, suspicions: all } = suspicions();
    all.add('flood', '203.0.113.9');
    await clock.advance(HOUR_MS - 1);
    all.add('flood', '203.0.113.9');
    expect(lines).toHaveLength(1);
    await clock.advance(1);
    all.add('flood', '203.0.113.9');
    expect(lines).toHaveLength(2);
  });

  test('an address with too many connections is logged again after a minute', async () => {
    const { clock, lines, suspicions: all } = suspicions();
    for (const waitMs of [59_999, 1, 0]) {
      all.add('connections', '203.0.113.9');
      await clock.advance(waitMs);
    }
    expect(lines).toHaveLength(2);
  });

  test('the address that was logged first is forgotten at the limit', () => {
    const { lines, suspicions: all } = suspicions();
    for (let i = 0; i <= REMEMBERED_MAX; i++) all.add('flood', `address ${i}`);
    all.add('flood', `address ${REMEMBERED_MAX}`);
    expect(lines).toHaveLength(REMEMBERED_MAX + 1);
    all.add('flood', 'address 0');
    expect(lines).toHaveLength(REMEMBERED_MAX + 2);
  });
});
