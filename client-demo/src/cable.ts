import './cable.css';
import { connectPage, find, setText } from './page.js';
import { countOperations, Person } from './person.js';
import { windowNumber } from './random-actor.js';

/** No event reports a change of `waiting`; polling ten times a second looks immediate. */
const REFRESH_INTERVAL_MS = 100;

const observer = connectPage();
const post = new URLSearchParams(location.search).get('post') ?? 'cable';
for (const widget of document.querySelectorAll('.gateway live-count')) widget.setAttribute('post', post);
const story = find('[data-testid=story]');
// Each window has its own two people; they stay the same after a reload.
const people = ['Ann', 'Bob'].map((name, i) => new Person(name, `${windowNumber()}${i}`, post, refresh));
let counted = { likes: 0, views: 0 };
observer.post(post).subscribe(({ counts }) => {
  counted = counts;
  refresh();
});
setInterval(refresh, REFRESH_INTERVAL_MS);

function refresh(): void {
  for (const person of people) person.show();
  setText(story, describe(people));
}

function describe([ann, bob]: readonly Person[]): string {
  if (!ann || !bob) return '';
  if (ann.pulled && bob.pulled) return `Both are unplugged. ${describeWaiting(ann)} ${describeWaiting(bob)}`;
  const [out, other] = ann.pulled ? [ann, bob] : [bob, ann];
  if (out.pulled) {
    const missing = out.waiting === 1 ? 'it' : 'them';
    const outcome = out.waiting === 0 ? '' : ` ${other.name} and the gateway have not received ${missing}.`;
    return `${out.name} is unplugged and continues. ${describeWaiting(out)}${outcome}`;
  }
  const sending = ann.waiting + bob.waiting;
  if (sending > 0) return `Both are plugged in. ${countOperations(sending)} on the way.`;
  if (!ann.synced || !bob.synced) return 'Both are plugged in and connecting to the gateway.';
  if ([ann, bob].some(({ likes, views }) => likes !== counted.likes || views !== counted.views))
    return 'Both are plugged in. The last updates are on the way.';
  return 'All three agree. The other side shows every operation within a tick.';
}

function describeWaiting({ name, waiting }: Person): string {
  if (waiting === 0) return `Nothing of ${name}’s waits yet.`;
  return `${countOperations(waiting)} of ${name}’s ${waiting === 1 ? 'waits' : 'wait'} here.`;
}
