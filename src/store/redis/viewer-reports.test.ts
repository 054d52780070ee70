import { describe, expect, it } from '@jest/globals';
import { settled } from '../../../test/simulation/simulated-clock.js';
import { ViewerReports } from './viewer-reports.js';

const PAGE = 500;

interface Report {
  readonly viewers: Record<string, number>;
  readonly isFull: boolean;
  readonly done: () => void;
  readonly fail: () => void;
}

/** Viewers of one bucket, whose reports end when the test calls `done` or `fail`. */
function setUp(): { readonly viewers: ViewerReports; readonly reports: Report[]; readonly sent: () => unknown[] } {
  const reports: Report[] = [];
  const viewers = new ViewerReports(1, (_, posts, isFull) => {
    return new Promise((resolve, reject) => {
      reports.push({
        viewers: Object.fromEntries(posts),
        isFull,
        done: resolve,
        fail: () => reject(new Error('down')),
      });
    });
  });
  return { viewers, reports, sent: () => reports.map((report) => [report.viewers, report.isFull]) };
}

describe('ViewerReports', () => {
  it('only changed viewers are reported, and nothing if none changed', async () => {
    const { viewers, reports, sent } = setUp();
    viewers.set(0, 'a', 1);
    viewers.set(0, 'b', 2);
    const first = viewers.flush(0);
    reports[0]!.done();
    await first;
    viewers.set(0, 'b', 3);
    const second = viewers.flush(0);
    reports[1]!.done();
    await second;
    await viewers.flush(0);
    expect(sent()).toEqual([
      [{ a: 1, b: 2 }, false],
      [{ b: 3 }, false],
    ]);
  });

  it('one report runs at a time, and changes meanwhile are reported after it', async () => {
    const { viewers, reports, sent } = setUp();
    viewers.set(0, 'a', 1);
    const flushed = viewers.flush(0);
    viewers.set(0, 'a', 2);
    viewers.set(0, 'b', 1);
    const joined = viewers.flush(0);
    expect(reports.length).toBe(1);
    reports[0]!.done();
    await settled();
    expect(sent().slice(1)).toEqual([[{ a: 2, b: 1 }, false]]);
    reports[1]!.done();
    await Promise.all([flushed, joined]);
    expect(reports.length).toBe(2);
  });

  it('a post without viewers is reported as 0', async () => {
    const { viewers, reports, sent } = setUp();
    viewers.set(0, 'a', 1);
    viewers.set(0, 'a', 0);
    void viewers.flush(0);
    reports[0]!.done();
    await settled();
    expect(sent()).toEqual([[{ a: 0 }, false]]);
  });

  it('the next call repeats a failed report with the current viewers', async () => {
    const { viewers, reports, sent } = setUp();
    viewers.set(0, 'a', 1);
    viewers.set(0, 'b', 1);
    const failed = viewers.flush(0);
    viewers.set(0, 'b', 5);
    reports[0]!.fail();
    await failed;
    expect(reports.length).toBe(1);
    void viewers.flush(0);
    reports[1]!.done();
    await settled();
    expect(sent()).toEqual([
      [{ a: 1, b: 1 }, false],
      [{ a: 1, b: 5 }, false],
    ]);
  });

  it('a requested full report is repeated until it succeeds', async () => {
    const { viewers, reports, sent } = setUp();
    viewers.set(0, 'a', 1);
    void viewers.flush(0);
    reports[0]!.done();
    await settled();
    viewers.requestFullReport();
    const failed = viewers.flush(0);
    reports[1]!.fail();
    await failed;
    viewers.set(0, 'a', 0);
    viewers.set(0, 'b', 1);
    void viewers.flush(0);
    await settled();
    expect(reports[2]).toMatchObject({ viewers: { b: 1 }, isFull: true });
    for (let i = 2; i < reports.length; i++) {
      reports[i]!.done();
      await settled();
    }
    await viewers.flush(0);
    expect(sent().filter((report) => (report as [unknown, boolean])[1]).length).toBe(2);
    expect(reports.at(-1)!.viewers).not.toHaveProperty('c');
  });

  it('a sweep that finds another number of posts leads to a full report', async () => {
    const { viewers, reports, sent } = setUp();
    viewers.set(0, 'a', 1);
    void viewers.flush(0);
    reports[0]!.done();
    await settled();
    viewers.checkPostCount(0, 1);
    await viewers.flush(0);
    expect(reports.length).toBe(1);
    viewers.checkPostCount(0, 0);
    void viewers.flush(0);
    expect(sent()[1]).toEqual([{ a: 1 }, true]);
    reports[1]!.done();
    await settled();
    expect(reports.length).toBe(2);
  });

  it('an empty full report removes the viewers in Redis of a gateway that has none', async () => {
    const { viewers, reports, sent } = setUp();
    viewers.checkPostCount(0, 3);
    void viewers.flush(0);
    reports[0]!.done();
    await settled();
    expect(sent()).toEqual([[{}, true]]);
  });

  it('the result of a sweep is ignored while a report runs', async () => {
    const { viewers, reports } = setUp();
    viewers.set(0, 'a', 1);
    void viewers.flush(0);
    viewers.checkPostCount(0, 0);
    reports[0]!.done();
    await settled();
    expect(reports.length).toBe(1);
  });

  it('many posts are reported in pages, of which only the first is a full report', async () => {
    const { viewers, reports } = setUp();
    for (let i = 0; i < 2 * PAGE + 1; i++) viewers.set(0, `post-${i}`, 1);
    viewers.requestFullReport();
    void viewers.flush(0);
    for (let i = 0; i < 3; i++) {
      expect(reports.length).toBe(i + 1);
      reports[i]!.done();
      await settled();
    }
    expect(reports.map(({ viewers: posts, isFull }) => [Object.keys(posts).length, isFull])).toEqual([
      [PAGE, true],
      [PAGE, false],
      [1, false],
    ]);
  });
});
