import type { LiveCounts } from '../../client/src/live-counts.js';
import { find } from './page.js';
import { showNumber } from './rolling-number.js';

const TITLES: Readonly<Record<string, string>> = {
  'demo:night-train': 'Night train to the coast',
  'demo:sourdough': 'Bread with three ingredients',
  'demo:small-telescope': 'A small telescope is enough',
  'demo:left-handed': 'Notes of a left-handed calligrapher',
  'demo:repair-cafe': 'Sunday at the repair café',
  'demo:tide-tables': 'How to read a tide table',
  'demo:bicycle': 'One bicycle, eleven countries',
  'demo:quiet-fans': 'In praise of quiet fans',
  'demo:market': 'What the market sells in March',
  'demo:field-guide': 'A field guide to roundabouts',
  'demo:postcards': 'Postcards nobody sent',
  'demo:last-page': 'Reading the last page first',
};

export const FEED = Object.keys(TITLES);

export function showFeed(live: LiveCounts): void {
  const template = find('#row') as HTMLTemplateElement;
  const rows = find('#rows');
  for (const [id, title] of Object.entries(TITLES)) {
    const row = find('tr', template.content).cloneNode(true) as HTMLElement;
    row.dataset['post'] = id;
    find('th', row).textContent = title;
    const likes = find('[data-metric=likes]', row);
    const views = find('[data-metric=views]', row);
    const viewers = find('[data-metric=live]', row);
    rows.append(row);
    live.post(id).subscribe(({ counts }) => {
      showNumber(likes, counts.likes);
      showNumber(views, counts.views);
      showNumber(viewers, counts.live);
    });
  }
}
