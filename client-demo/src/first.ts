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

/** The last like of this page, Ann or Bob, timed. */
interface TimedLike {
  readonly pressedMs: number;
  readonly liker: Liker;
  /** The other phone, and the likes that it shows when this one has arrived. */
  readonly other: Person;
  readonly likes: number;
  acknowledgedMs?: number;
  shownMs?: number;
  /** Bob was unplugged while the like was on its way from or to him: no time is that of the gateway. */
  wasUnplugged: boolean;
}

type Liker = 'You' | 'Ann' | 'Bob';

const list = new Intl.ListFormat('en-GB');

// A post of this visit alone: only this page acts on it, so it knows what has to be counted.
const post = `visit-${Math.random().toString(36).slice(2)}`;
const ledger = new Ledger();
let last: TimedLike | undefined;

const live = connectPage((client) => ledger.watch(client, (done) => void time('You', bob, done)));
for (const widget of document.querySelectorAll('.hero live-count, .hero live-like, .hero live-viewers')) {
  widget.setAttribute('post', post);
}
const ann: Person = new Person('Ann', `${windowNumber()}0`, post, refresh, (client) =>
  ledger.watch(client, (done) => void time('Ann', bob, done)),
);
const bob: Person = new Person('Bob', `${windowNumber()}1`, post, refresh, (client) =>
  ledger.watch(client, (done) => void time('Bob', ann, done)),
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

async function time(liker: Liker, other: Person, done: Promise<void>): Promise<void> {
  const like: TimedLike = {
    pressedMs: performance.now(),
    liker,
    other,
    likes: ledger.likesMade,
    wasUnplugged: bob.pulled,
  };
  last = like;
  try {
    await done;
    like.acknowledgedMs = performance.now() - like.pressedMs;
    refresh();
  } catch {
    // The widget takes back a rejected like, which is feedback enough.
  }
}

function refresh(): void {
  for (const person of [ann, bob]) person.show();
  setText(find('[data-testid=story]'), describePhones());
  setText(find('[data-testid=who]'), describeReaders());
  if (last) follow(last);
}

function follow(like: TimedLike): void {
  const isUnderWay = (like.liker === 'Bob' ? like.acknowledgedMs : like.shownMs) === undefined;
  if (bob.pulled && isUnderWay && performance.now() < like.pressedMs + TIMED_MS) like.wasUnplugged = true;
  showLike(like);
  // With another like on its way the phone could show this number without the visitor's.
  if (like.likes !== ledger.likesMade || like.other.likes !== like.likes || like.shownMs !== undefined) return;
  like.shownMs = Infinity;
  requestAnimationFrame(() => {
    like.shownMs = performance.now() - like.pressedMs;
    refresh();
  });
}

function showLike(like: TimedLike): void {
  const { acknowledgedMs, shownMs = Infinity } = like;
  const element = find('[data-testid=latency]');
  const text = describeLike(like);
  if (text !== null) setText(element, text);
  if (like.wasUnplugged || acknowledgedMs === undefined) return;
  element.dataset['acknowledgedMs'] = String(acknowledgedMs);
  if (Number.isFinite(shownMs)) element.dataset['shownMs'] = String(shownMs);
}

/** @returns null while the gateway has not answered and no phone is unplugged */
function describeLike({ liker, other, acknowledgedMs, shownMs = Infinity, wasUnplugged }: TimedLike): string | null {
  if (wasUnplugged && liker === 'Bob') {
    const isHeld = acknowledgedMs === undefined;
    return isHeld ? 'Bob’s like waits until he is plugged in.' : 'Bob’s like was counted when he was plugged in.';
  }
  if (acknowledgedMs === undefined) return null;
  const acknowledged = `${liker === 'You' ? 'Your' : `${liker}’s`} like: acknowledged after ${formatMs(acknowledgedMs)}`;
  if (wasUnplugged) {
    return `${acknowledged}. Bob’s phone ${bob.synced ? 'got it when it was' : 'gets it when it is'} plugged in.`;
  }
  if (!Number.isFinite(shownMs)) return `${acknowledged}.`;
  return `${acknowledged}, on ${other.name}’s phone after ${formatMs(shownMs)}.`;
}

/** The post is of this page alone: all viewers but the page, Ann and Bob are simulated. */
function describeReaders(): string {
  const viewers = Number(find('[data-testid=viewers]').dataset['count']);
  if (Number.isNaN(viewers)) return '';
  const known = [...[ann, bob].filter(({ synced }) => synced).map(({ name }) => name), 'you'];
  const simulated = viewers - known.length;
  return list.format(simulated > 0 ? [`${simulated} simulated`, ...known] : known);
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
