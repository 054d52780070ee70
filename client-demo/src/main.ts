import { createLiveCounts, type LiveCounts } from '../../client/src/live-counts.js';
import { showArticle } from './article.js';
import { FEED, showFeed } from './feed.js';
import { find } from './page.js';
import { offerSimulation } from './simulation.js';

const gateway = location.origin;
const live = createLiveCounts(gateway);
showArticle(live, new URLSearchParams(location.search).get('post') ?? 'welcome');
showFeed(live);
showState(live);
offerSimulation(gateway, FEED);

function showState(from: LiveCounts): void {
  const element = find('[data-testid=state]');
  let reached = false;
  const show = () => {
    reached ||= from.state === 'synced';
    element.dataset['state'] = from.state;
    element.textContent = from.state === 'synced' ? 'live' : reached ? 'reconnecting…' : 'connecting…';
  };
  from.on('syncing', show);
  from.on('synced', show);
  show();
}
