import './feed.css';
import { connectPage, find, setText } from './page.js';
import { pickEarly } from './reader.js';
import { simulateReaders } from './simulated-readers.js';
import { STORIES } from './stories.js';

/** Short enough to follow the scrolling. */
const READOUT_INTERVAL_MS = 200;

const live = connectPage();
const readout = find('[data-testid=watched]');
const meter = find('#meter');

const seen = new Set<string>();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const post = (target as HTMLElement).dataset['post']!;
    if (isIntersecting) seen.add(post);
    else seen.delete(post);
  }
});
for (const item of document.querySelectorAll('[data-post]')) observer.observe(item);
simulateReaders({ pickPost: () => pickEarly(seen.size > 0 ? [...seen] : [STORIES[0]!.id]) });

setInterval(() => {
  const watched = String(live.watched);
  if (readout.dataset['value'] === watched) return;
  readout.dataset['value'] = watched;
  setText(readout, watched);
  meter.style.setProperty('--share', String(live.watched / STORIES.length));
}, READOUT_INTERVAL_MS);
