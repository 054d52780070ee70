import './first.css';
import { compareForever } from './comparison.js';
import { enableCopy } from './copy.js';
import { enableKill } from './kill.js';
import { Ledger } from './ledger.js';
import { connectPage, find, gatewayUrl, setText } from './page.js';
import { countOperations, Person } from './person.js';
import { windowNumber } from './random-actor.js';
import { simulateReaders } from './simulated-readers.js';

/** No event reports a change of `waiting`; polling ten times a second looks immediate. */
const REFRESH_INTERVAL_MS = 100;

/** A like that takes longer is not timed any more: the other phone may be unplugged. */
const TIMED_MS = 5_000;

/** The last like of this visitor, timed. */
interface TimedLike {
  readonly pressedMs: number;
  /** The other phone, and the likes that it shows when this one has arrived. */
  readonly other: Person;
  readonly likes: number;
  acknowledgedMs?: number;
  shownMs?: number;
}

// A post of this visit alone: only this page acts on it, so it knows what has to be counted.
const post = `visit-${Math.random().toString(36).slice(2)}`;
const ledger = new Ledger();
let last: TimedLike | undefined;

const live = connectPage((client) => ledger.watch(client, (done) => void time(bob, done)));
for (const widget of document.querySelectorAll('.hero live-count, .hero live-like, .hero live-viewers')) {
  widget.setAttribute('post', post);
}
const ann: Person = new Person('Ann', `${windowNumber()}0`, post, refresh, (client) =>
  ledger.watch(client, (done) => void time(bob, done)),
);
const bob: Person = new Person('Bob', `${windowNumber()}1`, post, refresh, (client) =>
  ledger.watch(client, (done) => void time(ann, done)),
);
setInterval(refresh, REFRESH_INTERVAL_MS);
simulateReaders({
  pickPost: () => post,
  watch: (client) => ledger.watch(client),
  // Until a timed like has arrived, another one would make its arrival uncertain.
  mayLike: () => last === undefined || last.shownMs !== undefined || performance.now() > last.pressedMs + TIMED_MS,
});
void compareForever(ledger, post);
setText(find('[data-part=gateway]'), gatewayUrl());
enableCopy(find('#tags'));
enableKill(live);

async function time(other: Person, done: Promise<void>): Promise<void> {
  const like: TimedLike = { pressedMs: performance.now(), other, likes: ledger.likesMade };
  last = like;
  try {
    await done;
    like.acknowledgedMs = performance.now() - like.pressedMs;
    showTimes();
  } catch {
    // The widget takes back a rejected like, which is feedback enough.
  }
}

function refresh(): void {
  for (const person of [ann, bob]) person.show();
  setText(find('[data-testid=story]'), describePhones());
  // With another like on its way the phone could show this number without the visitor's.
  if (last?.likes !== ledger.likesMade || last.other.likes !== last.likes || last.shownMs !== undefined) return;
  const like = last;
  like.shownMs = Infinity;
  requestAnimationFrame(() => {
    like.shownMs = performance.now() - like.pressedMs;
    showTimes();
  });
}

function showTimes(): void {
  if (last?.acknowledgedMs === undefined) return;
  const { acknowledgedMs, shownMs = Infinity, other } = last;
  const element = find('[data-testid=latency]');
  element.dataset['acknowledgedMs'] = String(acknowledgedMs);
  if (Number.isFinite(shownMs)) element.dataset['shownMs'] = String(shownMs);
  const shown = Number.isFinite(shownMs) ? `, on ${other.name}’s phone after ${formatMs(shownMs)}` : '';
  setText(element, `Your like: acknowledged after ${formatMs(acknowledgedMs)}${shown}.`);
}

function formatMs(ms: number): string {
  return `${Math.max(1, Math.round(ms))}\u00a0ms`;
}

function describePhones(): string {
  if (bob.pulled) {
    const waiting = bob.waiting === 0 ? 'Press his heart, too' : `${countOperations(bob.waiting)} of his on hold`;
    return `Bob is unplugged and goes on. ${waiting}: plug him in and both agree.`;
  }
  if (!ann.synced || !bob.synced) return 'Both are plugged in and connecting to the gateway.';
  if (ann.likes !== bob.likes) return 'The last like is on its way to the other phone.';
  return 'Both are live and agree. Press a heart and watch the other, or unplug Bob.';
}
