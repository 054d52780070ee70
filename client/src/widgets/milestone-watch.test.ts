import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { until } from '../../../test/support/until.js';
import type { LiveCounts } from '../api.js';
import type { Milestone, MilestoneList } from '../milestones.js';
import { type MilestoneState, MilestoneWatch } from './milestone-watch.js';

const AT = '2026-11-30T03:30:00.000Z';
const N = 5;

/** The answer of the gateway. */
let list: MilestoneList;
let states: MilestoneState[];
/** Reports that the gateway has no such metric. */
let unknown: number;
let watch: MilestoneWatch;

beforeEach(() => {
  list = { armed: [], reached: [] };
  unknown = 0;
  states = [];
  watch = watchMetric('views');
});
afterEach(() => watch.stop());

function watchMetric(metric: string): MilestoneWatch {
  return new MilestoneWatch(
    { metric, n: N },
    {
      changed: (state) => states.push(state),
      failed: () => undefined,
      notArmed: (count) => (unknown += count === undefined ? 1 : 0),
    },
  );
}

/** A client of a page. */
class Page {
  #count: ((change: { counts: Record<string, number> }) => void) | undefined;
  #reach: ((milestone: Milestone) => void) | undefined;

  readonly live = {
    post: () => ({
      onMilestone: (listener: (milestone: Milestone) => void) => {
        this.#reach = listener;
        return () => undefined;
      },
      subscribe: (listener: (change: { counts: Record<string, number> }) => void) => {
        this.#count = listener;
        return () => undefined;
      },
      milestones: () => Promise.resolve(list),
    }),
  } as unknown as LiveCounts;

  count(views: number): void {
    this.#count!({ counts: { likes: 0, views } });
  }

  win(): void {
    this.#reach!({ post: 'p', metric: 'views', n: N, at: AT, mine: true });
  }
}

function reached(about: { mine?: true } = {}): MilestoneList {
  return { armed: [], reached: [{ n: N, v: 9, at: AT, final: true, ...about }] };
}

function last(): MilestoneState | undefined {
  return states.at(-1);
}

test('a page that was told that it won takes that back when the final record names somebody else', async () => {
  const page = new Page();
  watch.start(page.live, 'p');
  page.win();
  expect(last()).toMatchObject({ mine: true, final: false });
  // It reads the list again when it comes back into view.
  watch.stop();
  list = reached();
  watch.start(page.live, 'p');
  page.count(N);
  await until(() => last()!.final, 'the list is read');
  expect(last()!.mine).toBe(false);
});

test('a page that gets the client of another actor shows what that one has won', async () => {
  list = reached({ mine: true });
  const page = new Page();
  watch.start(page.live, 'p');
  page.count(N);
  await until(() => last()?.mine === true && last()!.final, 'the first actor has won');
  list = reached();
  const other = new Page();
  watch.start(other.live, 'p');
  other.count(N);
  await until(() => last()!.final, 'the list is read again');
  expect(last()).toMatchObject({ mine: false, at: AT });
});

test.each(['stars', 'constructor', '__proto__'])(
  'a metric %s that the gateway does not have is reported once, and has no count',
  (metric) => {
    watch = watchMetric(metric);
    const page = new Page();
    watch.start(page.live, 'p');
    for (let views = 0; views < 5; views++) page.count(views);
    expect([unknown, states]).toEqual([1, []]);
  },
);
