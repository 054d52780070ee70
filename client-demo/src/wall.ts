import './wall.css';
import { connectPage, find, setText } from './page.js';
import { Plot } from './plot.js';
import { pause, pickEarly, readPosts } from './reader.js';
import { simulateReaders } from './simulated-readers.js';
import { runStopwatch } from './stopwatch.js';
import { WALL_STORIES } from './stories.js';
import { CountsMonitor } from './counts-monitor.js';

const SAMPLE_MS = 500;
/** Readers of bursts at a time: with seven operations a second each, below the limit of an address, 500. */
const READERS_MAX = 60;
const READING_MS = 8_000;
const PAUSE_MS = 130;
/** Each reader of the wall is a viewer of this post, too. A sum over the twelve posts would have a reader more than once. */
const ROOM = 'wall';
/** Readers arrive over this time, as people do. */
const ARRIVAL_MS = 2_000;

const posts = WALL_STORIES.map(({ id }) => id);
const pickPost = (): string => pickEarly(posts);
const live = connectPage();
const monitor = new CountsMonitor(live, posts);
const number = new Intl.NumberFormat('en');

let viewers: number | null = null;
live.post(ROOM).subscribe(({ counts }) => (viewers = counts.live));

let readers = 0;
let sent = 0;
let acknowledged = 0;
let acknowledgedMs: number[] = [];
let screenMs: number[] = [];

const plots = {
  operations: new Plot(find('#operations'), 10),
  frames: new Plot(find('#frames'), 12),
  latency: new Plot(find('#latency'), 50),
  viewers: new Plot(find('#viewers'), 15),
};
const buttons = [...document.querySelectorAll<HTMLElement>('[data-readers]')];
for (const button of buttons) button.addEventListener('click', () => void burst(Number(button.dataset['readers'])));

let sampledAt = performance.now();
setInterval(sample, SAMPLE_MS);
simulateReaders({ room: ROOM, pickPost, acknowledged: takeLatency });

/** Starts readers, who leave by themselves. */
async function burst(count: number): Promise<void> {
  if (readers + count > READERS_MAX) return;
  readers += count;
  sent += count;
  showBurst();
  const over = Promise.all(
    Array.from({ length: count }, async (_, i) => {
      await pause((i / count) * ARRIVAL_MS);
      const leaving = AbortSignal.timeout(READING_MS);
      const acknowledgedOne = (ms: number): void => {
        acknowledged++;
        takeLatency(ms);
      };
      await readPosts({ room: ROOM, pickPost, pauseMs: PAUSE_MS, leaving, acknowledged: acknowledgedOne });
      readers--;
      showBurst();
    }),
  );
  await runStopwatch(live, over, (ms) => screenMs.push(ms));
}

function takeLatency(ms: number): void {
  acknowledgedMs.push(ms);
}

function showBurst(): void {
  for (const button of buttons) {
    // Not `disabled`, which would take the focus from a button that was just pressed.
    button.setAttribute('aria-disabled', String(readers + Number(button.dataset['readers']) > READERS_MAX));
  }
  const status = find('[data-testid=burst]');
  status.dataset['readers'] = String(readers);
  const past = `${number.format(sent)} readers were sent and made ${number.format(acknowledged)} operations.`;
  setText(status, readers > 0 ? `${readers} of ${number.format(sent)} readers are here.` : past);
}

function sample(): void {
  const now = performance.now();
  const seconds = (now - sampledAt) / 1_000;
  sampledAt = now;
  const { counted, frames } = monitor.takeSample();
  const { likes, views } = monitor.totals();
  const acknowledgedNow = acknowledgedMs.length / seconds;
  plots.operations.add(now, [acknowledgedNow, counted / seconds]);
  plots.frames.add(now, [frames / seconds]);
  plots.latency.add(now, [median(acknowledgedMs), median(screenMs)]);
  plots.viewers.add(now, [viewers]);
  show('acknowledged', Math.round(acknowledgedNow));
  show('counted', Math.round(counted / seconds));
  show('frames', Math.round(frames / seconds));
  show('acknowledged-ms', median(acknowledgedMs), ' ms');
  show('screen-ms', median(screenMs), ' ms');
  for (const name of ['viewers', 'total-live']) show(name, viewers);
  show('total-likes', likes);
  show('total-views', views);
  showShares();
  acknowledgedMs = [];
  screenMs = [];
}

function show(name: string, value: number | null, unit = ''): void {
  const element = find(`[data-testid=${name}]`);
  element.dataset['value'] = String(value);
  setText(element, value === null ? '–' : `${number.format(Math.round(value))}${unit}`);
}

function showShares(): void {
  const most = Math.max(1, ...posts.map((post) => monitor.viewsOf(post)));
  for (const post of posts) {
    find(`tr[data-post="${post}"]`).style.setProperty('--share', String(monitor.viewsOf(post) / most));
  }
}

function median(values: readonly number[]): number | null {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? null;
}
