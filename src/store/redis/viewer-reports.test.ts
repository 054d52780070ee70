import { describe, expect, it } from '@jest/globals';
import { settled } from '../../../test/simulation/simulated-clock.js';
import { ViewerReports } from './viewer-reports.js';

const PART = 500;

interface Report {
  readonly shares: Record<string, number>;
  readonly all: boolean;
  readonly done: () => void;
  readonly fail: () => void;
}

/** Shares of one bucket, whose reports end when the test says so. */
function setUp(): { readonly shares: ViewerReports; readonly reports: Report[]; readonly told: () => unknown[] } {
  const reports: Report[] = [];
  const shares = new ViewerReports(1, (_, posts, all) => {
    return new Promise((resolve, reject) => {
      reports.push({ shares: Object.fromEntries(posts), all, done: resolve, fail: () => reject(new Error('away')) });
    });
  });
  return { shares, reports, told: () => reports.map((report) => [report.shares, report.all]) };
}

describe('shares', () => {
  it('only what changed is reported, and nothing if nothing did', async () => {
    const { shares, reports, told } = setUp();
    shares.set(0, 'a', 1);
    shares.set(0, 'b', 2);
    const first = shares.flush(0);
    reports[0]!.done();
    await first;
    shares.set(0, 'b', 3);
    const second = shares.flush(0);
    reports[1]!.done();
    await second;
    await shares.flush(0);
    expect(told()).toEqual([
      [{ a: 1, b: 2 }, false],
      [{ b: 3 }, false],
    ]);
  });

  it('one report is under way at a time, and what changes meanwhile follows it', async () => {
    const { shares, reports, told } = setUp();
    shares.set(0, 'a', 1);
    const flushed = shares.flush(0);
    shares.set(0, 'a', 2);
    shares.set(0, 'b', 1);
    const joined = shares.flush(0);
    expect(reports.length).toBe(1);
    reports[0]!.done();
    await settled();
    expect(told().slice(1)).toEqual([[{ a: 2, b: 1 }, false]]);
    reports[1]!.done();
    await Promise.all([flushed, joined]);
    expect(reports.length).toBe(2);
  });

  it('a share that is over is reported as 0', async () => {
    const { shares, reports, told } = setUp();
    shares.set(0, 'a', 1);
    shares.set(0, 'a', 0);
    void shares.flush(0);
    reports[0]!.done();
    await settled();
    expect(told()).toEqual([[{ a: 0 }, false]]);
  });

  it('what fails is reported by the next call, as it is then', async () => {
    const { shares, reports, told } = setUp();
    shares.set(0, 'a', 1);
    shares.set(0, 'b', 1);
    const failed = shares.flush(0);
    shares.set(0, 'b', 5);
    reports[0]!.fail();
    await failed;
    expect(reports.length).toBe(1);
    void shares.flush(0);
    reports[1]!.done();
    await settled();
    expect(told()).toEqual([
      [{ a: 1, b: 1 }, false],
      [{ a: 1, b: 5 }, false],
    ]);
  });

  it('when Redis may hold something else, all is reported and ends the rest, until that has worked', async () => {
    const { shares, reports, told } = setUp();
    shares.set(0, 'a', 1);
    void shares.flush(0);
    reports[0]!.done();
    await settled();
    shares.requestFullReport();
    const failed = shares.flush(0);
    reports[1]!.fail();
    await failed;
    shares.set(0, 'a', 0);
    shares.set(0, 'b', 1);
    void shares.flush(0);
    await settled();
    expect(reports[2]).toMatchObject({ shares: { b: 1 }, all: true });
    for (let i = 2; i < reports.length; i++) {
      reports[i]!.done();
      await settled();
    }
    await shares.flush(0);
    expect(told().filter((report) => (report as [unknown, boolean])[1]).length).toBe(2);
    expect(reports.at(-1)!.shares).not.toHaveProperty('c');
  });

  it('a sweep that finds another number of posts has all reported, one that finds the same has not', async () => {
    const { shares, reports, told } = setUp();
    shares.set(0, 'a', 1);
    void shares.flush(0);
    reports[0]!.done();
    await settled();
    shares.checkPostCount(0, 1);
    await shares.flush(0);
    expect(reports.length).toBe(1);
    shares.checkPostCount(0, 0);
    void shares.flush(0);
    expect(told()[1]).toEqual([{ a: 1 }, true]);
    reports[1]!.done();
    await settled();
    expect(reports.length).toBe(2);
  });

  it('shares that Redis has of a gateway without viewers are ended by an empty report', async () => {
    const { shares, reports, told } = setUp();
    shares.checkPostCount(0, 3);
    void shares.flush(0);
    reports[0]!.done();
    await settled();
    expect(told()).toEqual([[{}, true]]);
  });

  it('what a sweep finds while a report is under way says nothing', async () => {
    const { shares, reports } = setUp();
    shares.set(0, 'a', 1);
    void shares.flush(0);
    shares.checkPostCount(0, 0);
    reports[0]!.done();
    await settled();
    expect(reports.length).toBe(1);
  });

  it('many posts go in parts, of which only the first ends the rest', async () => {
    const { shares, reports } = setUp();
    for (let i = 0; i < 2 * PART + 1; i++) shares.set(0, `post-${i}`, 1);
    shares.requestFullReport();
    void shares.flush(0);
    for (let i = 0; i < 3; i++) {
      expect(reports.length).toBe(i + 1);
      reports[i]!.done();
      await settled();
    }
    expect(reports.map(({ shares: posts, all }) => [Object.keys(posts).length, all])).toEqual([
      [PART, true],
      [PART, false],
      [1, false],
    ]);
  });
});
