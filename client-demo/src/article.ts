import type { LiveCounts } from '../../client/src/live-counts.js';
import { find } from './page.js';
import { showNumber } from './rolling-number.js';

/** The post of the page: a like that can be taken back, a view for every load, and who else is here. */
export function showArticle(live: LiveCounts, id: string): void {
  const post = live.post(id);
  const button = find('[data-testid=like]');
  const likes = find('[data-testid=likes]');
  const views = find('[data-testid=views]');
  const viewers = find('[data-testid=live]');
  const notice = find('#notice');
  find('#post-id').textContent = id;

  const explain = (error: unknown) => {
    notice.textContent = error instanceof Error ? error.message : String(error);
    notice.hidden = false;
  };

  post.subscribe(({ counts, mine }) => {
    showNumber(likes, counts.likes);
    showNumber(views, counts.views);
    showNumber(viewers, counts.live);
    button.setAttribute('aria-pressed', String(mine.includes('likes')));
  }, explain);

  button.addEventListener('click', () => {
    notice.hidden = true;
    const liked = button.getAttribute('aria-pressed') === 'true';
    (liked ? post.unlike() : post.like()).catch(explain);
  });

  post.view().catch(explain);
}
