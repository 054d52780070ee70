import './feed.css';
import { connectPage, find, setText } from './page.js';
import { STORIES } from './stories.js';

/** Short enough to follow the scrolling. */
const READOUT_INTERVAL_MS = 200;

const live = connectPage();
const readout = find('[data-testid=watched]');
const meter = find('#meter');

setInterval(() => {
  const watched = String(live.watched);
  if (readout.dataset['value'] === watched) return;
  readout.dataset['value'] = watched;
  setText(readout, watched);
  meter.style.setProperty('--share', String(live.watched / STORIES.length));
}, READOUT_INTERVAL_MS);
