import { beforeEach, describe, expect, it } from '@jest/globals';
import { DeadLetterRetry } from '../../src/admin/dead-letter-retry.js';
import type { JobReport } from '../../src/admin/job-runner.js';
import { systemClock } from '../../src/common/clock.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { Metrics } from '../../src/counters/metrics.js';
import { type DeadLetter, LOG_PARTITIONS } from '../../src/log/event-log.js';
import { decodeEntry, type LoggedEvent } from '../../src/log/log-entry.js';
import { MemoryLog } from '../simulation/memory-log.js';

const BUCKETS = 64;
const OLD = Metrics.parse('likes:toggle,views:tally');
const NEW = Metrics.parse('likes:toggle,views:tally,shares:tally,visits:unique@30m');

let log: MemoryLog;

beforeEach(() => {
  log = new MemoryLog({
    eventsMax: 100,
    newName: () => '0123456789abcdef',
    isReplicated: false,
    nextIncarnation: (last) => last + 1,
  });
});

function letter(offset: number, index: number, event: string): DeadLetter {
  return { partition: 5, offset, index, reason: 'unknown metric "shares"', event };
}

async function retry(metrics: Metrics): Promise<{ summary: JobReport; reports: JobReport[] }> {
  const reports: JobReport[] = [];
  const job = new DeadLetterRetry(log, { buckets: BUCKETS, metrics, clock: systemClock });
  const report = (line: JobReport): Promise<void> => Promise.resolve(void reports.push(line));
  return { summary: await job.run(report, new AbortController().signal), reports };
}

function readEvents(): LoggedEvent[] {
  return Array.from({ length: LOG_PARTITIONS }, (_, partition) =>
    log.entriesOf(partition).flatMap(({ payload }) => {
      const { events, dead } = decodeEntry(payload, NEW);
      expect(dead).toEqual([]);
      for (const { post } of events) expect(bucketOf(post, BUCKETS) % LOG_PARTITIONS).toBe(partition);
      return events;
    }),
  ).flat();
}

describe('a retry of dead letters', () => {
  it('a letter that can be counted now is appended with a key of its offset, and removed', async () => {
    await log.addDeadLetters([
      letter(7, 3, '["a","shares",2]'),
      letter(8, 0, '["b","shares",1,{"session":"00000000000004d2","seq":9}]'),
    ]);
    expect(await retry(NEW)).toEqual({ summary: { retried: 2, left: 0 }, reports: [] });
    expect(await log.listDeadLetters(5, 10)).toEqual([]);
    const [first, second] = readEvents().sort((x, y) => (x.post < y.post ? -1 : 1));
    expect(first).toMatchObject({ post: 'a', metric: 2, value: 2, seq: 1 });
    expect(second).toMatchObject({ post: 'b', session: { hi: 0, lo: 1234 }, seq: 9 });
    // As if the letter had not been removed.
    await log.addDeadLetters([letter(7, 3, '["a","shares",2]'), letter(7, 4, '["a","shares",2]')]);
    await retry(NEW);
    const sessions = readEvents().flatMap(({ post, session }) => (post === 'a' ? [JSON.stringify(session)] : []));
    expect(sessions.filter((one) => one === JSON.stringify(first!.session))).toHaveLength(2);
    expect(new Set(sessions).size).toBe(2);
  });

  it('a visit that is counted later has the time at which it was accepted', async () => {
    await log.addDeadLetters([letter(7, 0, '["a","visits",1,{"actor":"00000000000004d2","atS":1767225600}]')]);
    await retry(NEW);
    expect(readEvents()).toMatchObject([{ post: 'a', kind: 'visit', actor: { hi: 0, lo: 1234 }, atS: 1767225600 }]);
  });

  it('letters that still cannot be counted stay, and are reported with the reason of now', async () => {
    await log.addDeadLetters([letter(7, 0, 'no JSON'), letter(8, 1, '["a","shares"]'), letter(9, 0, '["a","views"]')]);
    expect(await retry(OLD)).toEqual({
      summary: { retried: 1, left: 2 },
      reports: [
        { partition: 5, offset: '7:0', reason: 'unknown metric "shares"' },
        { partition: 5, offset: '8:1', reason: 'unknown metric "shares"; METRICS has likes:toggle,views:tally' },
      ],
    });
    expect((await log.listDeadLetters(5, 10)).map(({ offset }) => offset)).toEqual([7, 8]);
  });

  it('of an entry whose events can be counted in part, the others get letters of their own', async () => {
    const entry = {
      at: 5_000,
      events: [
        ['a', 'views'],
        ['b', 'shares'],
        ['c', 'views'],
        ['d', 'unknown'],
      ],
    };
    await log.addDeadLetters([letter(7, 0, JSON.stringify(entry))]);
    expect((await retry(OLD)).summary).toEqual({ retried: 2, left: 2 });
    const left = await log.listDeadLetters(5, 10);
    expect(left.map(({ index, event }) => [index, event])).toEqual([
      [1, '["b","shares",null,{"atS":5}]'],
      [3, '["d","unknown",null,{"atS":5}]'],
    ]);
    expect((await retry(NEW)).summary).toEqual({ retried: 1, left: 1 });
    expect(
      readEvents()
        .map(({ post }) => post)
        .sort(),
    ).toEqual(['a', 'b', 'c']);
  });

  it('a full log takes no letter, and all of them stay', async () => {
    await log.append([{ partition: 0, events: 100, payload: '' }]);
    await log.addDeadLetters([letter(7, 0, '["a","views"]')]);
    await expect(retry(OLD)).rejects.toMatchObject({ body: { code: 'OVERLOADED' } });
    expect(await log.listDeadLetters(5, 10)).toHaveLength(1);
  });
});
