import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type DeadLetter, type EventLog, type LogAppend, LogFullError, type LogPage } from '../../src/log/event-log.js';

/** Events that logs under test hold at most. */
export const EVENTS_MAX = 1_000;
/** Dead letters of a partition that logs keep. */
const LETTERS_MAX = 10_000;

export interface LogUnderTest {
  readonly log: EventLog;
  /** Removes everything, as if the server had never had a log. */
  empty(): Promise<void>;
  close(): Promise<void>;
}

export function entry(partition: number, payload: string, events = 1): LogAppend {
  return { partition, events, payload };
}

export async function readAll(log: EventLog, partition: number, after = 0): Promise<LogPage> {
  const [page] = await log.read([{ partition, after }], EVENTS_MAX);
  return page!;
}

export async function readPayloads(log: EventLog, partition: number, after = 0): Promise<string[]> {
  return (await readAll(log, partition, after)).entries.map(({ payload }) => payload);
}

function letter(offset: number, index: number, event = `event ${index}`): DeadLetter {
  return { partition: 3, offset, index, reason: 'unknown metric "höhe"', event };
}

async function countEvents(log: EventLog): Promise<number> {
  return (await log.status()).partitions.reduce((sum, { events }) => sum + events, 0);
}

function appendTests(under: Pick<LogUnderTest, 'log'>): void {
  it('a log returns the entries of each partition in the order of their appends', async () => {
    await under.log.append([entry(1, '{"é":1}', 2), entry(2, 'second')]);
    await Promise.all([
      under.log.append([entry(1, 'third', 3)]),
      under.log.append([entry(1, 'fourth'), entry(1, 'fifth')]),
    ]);
    const pages = await under.log.read(
      [1, 2, 15].map((partition) => ({ partition, after: 0 })),
      EVENTS_MAX,
    );
    expect(pages.map(({ entries }) => entries.map(({ payload, events }) => [payload, events]))).toEqual([
      [
        ['{"é":1}', 2],
        ['third', 3],
        ['fourth', 1],
        ['fifth', 1],
      ],
      [['second', 1]],
      [],
    ]);
    expect(pages.map(({ partition, trimmedUpTo, eventsLeft }) => [partition, trimmedUpTo, eventsLeft])).toEqual([
      [1, 0, 0],
      [2, 0, 0],
      [15, 0, 0],
    ]);
    const offsets = pages[0]!.entries.map(({ offset }) => offset);
    expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
    expect(offsets.every((offset) => offset > 0 && Number.isSafeInteger(offset))).toBe(true);
    expect(await readPayloads(under.log, 1, offsets[1])).toEqual(['fourth', 'fifth']);
    expect(under.log.stats.appendedEvents).toBe(8);
  });

  it('a full log takes no request that does not fit whole, and takes some again after a trim', async () => {
    await under.log.append([entry(0, 'most', EVENTS_MAX - 10)]);
    const results = await Promise.allSettled([
      under.log.append([entry(1, 'no', 6), entry(2, 'no', 5)]),
      under.log.append([entry(1, 'fits', 4), entry(2, 'fits', 6)]),
      under.log.append([entry(3, 'no', 1)]),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(LogFullError);
    expect(await readPayloads(under.log, 1)).toEqual(['fits']);
    expect(await countEvents(under.log)).toBe(EVENTS_MAX);
    const { log: name, entries } = await readAll(under.log, 0);
    await under.log.trim(name, 0, entries[0]!.offset);
    expect(await countEvents(under.log)).toBe(10);
    await under.log.append([entry(3, 'again', EVENTS_MAX - 10)]);
    await expect(under.log.append([entry(3, 'no', 1)])).rejects.toThrow(
      'the log is full: it holds 1000 events at most',
    );
  });
}

function pageTests(under: Pick<LogUnderTest, 'log'>): void {
  it('a page ends with the entry that fills it, and says whether events follow', async () => {
    await under.log.append([1, 3, 5, 7].map((events) => entry(0, `${events}`, events)));
    const read = async (eventsMax: number, after = 0) =>
      (await under.log.read([{ partition: 0, after }], eventsMax))[0]!;
    const first = await read(4);
    expect(first).toMatchObject({ entries: [{ payload: '1' }, { payload: '3' }] });
    const second = await read(1, first.entries[1]!.offset);
    expect(second).toMatchObject({ entries: [{ payload: '5' }] });
    expect([first, second].every(({ eventsLeft }) => eventsLeft > 0)).toBe(true);
    expect(await read(100, second.entries[0]!.offset)).toMatchObject({ entries: [{ payload: '7' }], eventsLeft: 0 });
  });

  it('a page of more entries and bytes than one call reads has no gap', async () => {
    const large = 'x'.repeat(200_000);
    for (let i = 0; i < 30; i++) await under.log.append([entry(4, `${i} ${large}`), entry(5, String(i))]);
    const [large4, small5] = await under.log.read(
      [4, 5].map((partition) => ({ partition, after: 0 })),
      25,
    );
    expect(large4!.entries.map(({ payload }) => Number(payload.split(' ')[0]))).toEqual([...Array(25).keys()]);
    expect([large4!.eventsLeft, small5!.entries.length, small5!.eventsLeft]).toEqual([5, 25, 5]);
  });
}

function trimTests(under: Pick<LogUnderTest, 'log' | 'empty'>): void {
  it('a trim removes entries up to its offset, and no others', async () => {
    for (let i = 0; i < 5; i++) await under.log.append([entry(7, String(i), 2), entry(8, String(i))]);
    const { log: name, entries } = await readAll(under.log, 7);
    const [, , third, fourth] = entries.map(({ offset }) => offset);
    await under.log.trim('another-name', 7, fourth!);
    expect(await countEvents(under.log)).toBe(15);
    await under.log.trim(name, 7, third!);
    await under.log.trim(name, 7, third! - 1);
    expect(await readAll(under.log, 7)).toMatchObject({ trimmedUpTo: third, entries: entries.slice(3), eventsLeft: 0 });
    expect(await readPayloads(under.log, 8)).toHaveLength(5);
    expect((await under.log.status()).partitions[7]).toMatchObject({ partition: 7, events: 4 });
    await under.log.trim(name, 7, Number.MAX_SAFE_INTEGER);
    expect(await readAll(under.log, 7)).toMatchObject({ trimmedUpTo: entries[4]!.offset, entries: [], eventsLeft: 0 });
    await under.log.append([entry(7, 'later')]);
    expect(await readAll(under.log, 7)).toMatchObject({ entries: [{ payload: 'later' }] });
    expect((await readAll(under.log, 7)).entries[0]!.offset).toBeGreaterThan(entries[4]!.offset);
  });

  it('a log that was emptied has another name each time', async () => {
    const names = [(await under.log.status()).log];
    for (let i = 0; i < 2; i++) {
      await under.log.append([entry(0, 'lost')]);
      await under.empty();
      expect(await readAll(under.log, 0)).toMatchObject({ trimmedUpTo: 0, entries: [], eventsLeft: 0 });
      names.push((await under.log.status()).log);
    }
    expect(new Set(names).size).toBe(3);
  });
}

function deadLetterTests(under: Pick<LogUnderTest, 'log'>): void {
  it('dead letters are listed oldest first, replaced, and removed', async () => {
    await under.log.addDeadLetters([letter(20, 10), letter(20, 2), letter(9, 0)]);
    await under.log.addDeadLetters([letter(20, 2, 'replaced'), letter(2 ** 52, 0)]);
    const listed = [letter(9, 0), letter(20, 2, 'replaced'), letter(20, 10), letter(2 ** 52, 0)];
    expect(await under.log.listDeadLetters(3, 100)).toEqual(listed);
    expect(await under.log.listDeadLetters(3, 2)).toEqual(listed.slice(0, 2));
    expect(await under.log.listDeadLetters(4, 100)).toEqual([]);
    await under.log.removeDeadLetters([letter(20, 2), letter(20, 3)]);
    expect(await under.log.listDeadLetters(3, 100)).toEqual(listed.filter(({ event }) => event !== 'replaced'));
    expect((await under.log.status()).partitions[3]).toMatchObject({ deadLetters: 3, droppedDeadLetters: 0 });
    expect(under.log.stats).toMatchObject({ deadLetters: 4, droppedDeadLetters: 0 });
  });

  it('a partition keeps its newest dead letters, and counts those that it drops', async () => {
    await under.log.addDeadLetters(Array.from({ length: LETTERS_MAX + 5 }, (_, i) => letter(i, 0)));
    await under.log.addDeadLetters([letter(LETTERS_MAX + 4, 0, 'replaced'), letter(3, 0, 'too old')]);
    expect(await under.log.listDeadLetters(3, 1)).toEqual([letter(5, 0)]);
    expect((await under.log.status()).partitions[3]).toMatchObject({ deadLetters: LETTERS_MAX, droppedDeadLetters: 6 });
    expect(under.log.stats).toMatchObject({ deadLetters: LETTERS_MAX + 6, droppedDeadLetters: 6 });
  });
}

/** The tests of every log: an EventLog and its promises. */
export function describeLog(name: string, open: () => Promise<LogUnderTest>): void {
  describe(name, () => {
    let opened: LogUnderTest;
    const under: Pick<LogUnderTest, 'log' | 'empty'> = {
      get log() {
        return opened.log;
      },
      empty: () => opened.empty(),
    };

    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.close());

    appendTests(under);
    pageTests(under);
    trimTests(under);
    deadLetterTests(under);
  });
}
