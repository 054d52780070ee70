import { describe, expect, it } from '@jest/globals';
import { settled } from '../../../test/simulation/simulated-clock.js';
import { ViewersOfPost } from '../../../test/support/viewers-of-post.js';
import type { ViewerReport, ViewersPage } from './codec/viewer-report.js';
import { type ReportOutcome, type StoredViewers, ViewerReports } from './viewer-reports.js';

const PAGE = 250;
const [ADA, BOB, CY] = ['ada-----', 'bob-----', 'cy------'] as const;

interface Call {
  readonly others: Record<string, number>;
  /** By post: people who are there, and who are not. */
  readonly people: Record<string, readonly [string, string]>;
  readonly done: () => void;
  readonly fail: () => void;
}

const EMPTY_PAGE: ViewersPage = { cursor: '0', others: new Map(), people: [] };
const NONE: StoredViewers = { posts: 0, people: 0 };

/** Viewers of one bucket. A report ends when the test calls `done` or `fail`, except during `flush`. */
class World {
  readonly calls: Call[] = [];
  /** Pages that comparisons read next. */
  readonly pages: (ViewersPage | Error)[] = [];
  comparisons = 0;
  /** The numbers in Redis before the next report, and after it. */
  readonly stored = { before: NONE, after: NONE };
  readonly reports = new ViewerReports(1, {
    report: (_, report) => this.#report(report),
    readPage: async (_, cursor) => {
      if (cursor === '0') this.comparisons += 1;
      const page = this.pages.shift() ?? EMPTY_PAGE;
      if (page instanceof Error) throw page;
      return await Promise.resolve(page);
    },
  });
  #isFlushing = false;
  readonly #posts = new Map<string, ViewersOfPost>();

  /** Changes the viewers of a post, and says so. */
  change(post: string, others: number, people: readonly string[] = []): void {
    const viewers = this.#posts.get(post) ?? new ViewersOfPost();
    this.#posts.set(post, viewers);
    this.reports.add(0, post, viewers.change(others, people));
  }

  /** Reports what changed. @param stored  what Redis has afterwards */
  async flush(stored = NONE): Promise<void> {
    this.stored.after = stored;
    this.#isFlushing = true;
    await this.reports.flush(0);
    this.#isFlushing = false;
  }

  get sent(): unknown[] {
    return this.calls.map(({ others, people }) => [others, people]);
  }

  #report({ others, people }: ViewerReport): Promise<ReportOutcome> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        resolve({ storedBefore: this.stored.before, stored: this.stored.after });
        this.stored.before = this.stored.after;
      };
      this.calls.push({
        others: Object.fromEntries(others),
        people: Object.fromEntries(people.map(({ post, present, absent }) => [post, [present, absent]])),
        done,
        fail: () => reject(new Error('down')),
      });
      if (this.#isFlushing) done();
    });
  }
}

describe('ViewerReports', () => {
  it('only changed viewers are reported, and nothing if none changed', async () => {
    const world = new World();
    world.change('a', 1, [ADA, BOB]);
    world.change('b', 2);
    await world.flush();
    world.change('a', 1, [BOB, CY]);
    await world.flush();
    await world.flush();
    expect(world.sent).toEqual([
      [{ a: 1, b: 2 }, { a: [ADA + BOB, ''] }],
      [{ a: 1 }, { a: [CY, ADA] }],
    ]);
  });

  it('one report runs at a time, and changes meanwhile are reported after it', async () => {
    const world = new World();
    world.change('a', 1, [ADA]);
    const flushed = world.reports.flush(0);
    world.change('a', 2, [ADA, BOB]);
    world.change('b', 1);
    const joined = world.reports.flush(0);
    expect(world.calls.length).toBe(1);
    world.calls[0]!.done();
    await settled();
    expect(world.sent.slice(1)).toEqual([[{ a: 2, b: 1 }, { a: [BOB, ''] }]]);
    world.calls[1]!.done();
    await Promise.all([flushed, joined]);
    expect(world.calls.length).toBe(2);
  });

  it('a post without viewers is reported as 0, and its people as absent', async () => {
    const world = new World();
    world.change('a', 1, [ADA]);
    await world.flush();
    world.change('a', 0, []);
    await world.flush();
    expect(world.sent[1]).toEqual([{ a: 0 }, { a: ['', ADA] }]);
  });

  it('after a failed report the next call compares with Redis, and reports what is missing', async () => {
    const world = new World();
    world.change('a', 1, [ADA, BOB]);
    const failed = world.reports.flush(0);
    world.change('a', 5, [BOB]);
    world.calls[0]!.fail();
    await failed;
    expect([world.calls.length, world.comparisons]).toEqual([1, 0]);
    world.pages.push({ ...EMPTY_PAGE, people: [['a', ADA]] });
    await world.flush();
    expect(world.sent[1]).toEqual([{ a: 5 }, { a: [BOB, ADA] }]);
  });

  it('many posts and people are reported in pages', async () => {
    const world = new World();
    const people = Array.from({ length: 1_000 }, (_, i) => String(i).padEnd(8, '-'));
    world.change('crowd', 0, people);
    for (let i = 0; i < 500; i++) world.change(`post-${i}`, 1);
    await world.flush();
    const keys = world.calls.map((call) => (call.people['crowd']?.[0].length ?? 0) / 8);
    expect(keys.reduce((sum, count) => sum + count)).toBe(people.length);
    const sizes = world.calls.map(({ others }, i) => Object.keys(others).length + keys[i]!);
    expect([sizes.length, Math.max(...sizes)]).toEqual([7, PAGE]);
  });

  it('a comparison reports what Redis has wrong, lacks, and has too much, and is repeated until it succeeds', async () => {
    const world = new World();
    world.change('a', 1, [ADA, BOB]);
    world.change('b', 2);
    await world.flush();
    world.reports.compareAll();
    world.pages.push(new Error('down'));
    await world.reports.flush(0);
    const others = new Map([
      ['a', 1],
      ['b', 7],
      ['c', 1],
    ]);
    world.pages.push({ cursor: '3', others, people: [['a', ADA]] }, { ...EMPTY_PAGE, people: [['b', CY]] });
    await world.flush();
    expect(world.sent[1]).toEqual([
      { a: 1, b: 2, c: 0 },
      { a: [BOB, ''], b: ['', CY] },
    ]);
    expect([world.comparisons, world.calls.length]).toEqual([2, 2]);
  });

  it('a sweep that finds other numbers than the last report leads to a comparison', async () => {
    const world = new World();
    world.change('a', 1, [ADA]);
    const stored = { posts: 1, people: 1 };
    await world.flush(stored);
    world.reports.checkStored(0, stored);
    await world.flush();
    expect(world.comparisons).toBe(0);
    world.stored.before = { posts: 1, people: 0 };
    world.reports.checkStored(0, world.stored.before);
    world.pages.push({ ...EMPTY_PAGE, others: new Map([['a', 1]]) });
    await world.flush(stored);
    expect([world.comparisons, world.sent[1]]).toEqual([1, [{ a: 1 }, { a: [ADA, ''] }]]);
    world.reports.checkStored(0, stored);
    await world.flush();
    expect(world.comparisons).toBe(1);
  });

  it('a comparison that finds no difference is not repeated', async () => {
    const world = new World();
    world.change('a', 1, [ADA]);
    await world.flush({ posts: 9, people: 9 });
    world.reports.checkStored(0, { posts: 1, people: 1 });
    world.pages.push({ cursor: '0', others: new Map([['a', 1]]), people: [['a', ADA]] });
    await world.flush();
    world.reports.checkStored(0, { posts: 1, people: 1 });
    await world.flush();
    expect([world.comparisons, world.calls.length]).toEqual([1, 1]);
  });

  it('a report that finds other numbers than the one before leads to a comparison', async () => {
    const world = new World();
    world.change('a', 1, [ADA]);
    await world.flush({ posts: 1, people: 1 });
    world.stored.before = NONE;
    world.change('a', 1, [ADA, BOB]);
    await world.flush({ posts: 1, people: 1 });
    world.pages.push({ ...EMPTY_PAGE, others: new Map([['a', 1]]), people: [['a', BOB]] });
    await world.flush({ posts: 1, people: 2 });
    expect([world.comparisons, world.sent[2]]).toEqual([1, [{ a: 1 }, { a: [ADA, ''] }]]);
  });

  it('the result of a sweep is ignored while a report runs', async () => {
    const world = new World();
    world.change('a', 1);
    const flushed = world.reports.flush(0);
    world.reports.checkStored(0, { posts: 5, people: 5 });
    world.calls[0]!.done();
    await flushed;
    await world.flush();
    expect(world.comparisons).toBe(0);
  });

  it('all viewers are withdrawn', async () => {
    const world = new World();
    world.change('a', 1, [ADA]);
    await world.flush();
    const withdrawn = world.reports.withdrawAll();
    world.calls[1]!.done();
    await withdrawn;
    expect(world.sent[1]).toEqual([{ a: 0 }, { a: ['', ADA] }]);
  });
});
