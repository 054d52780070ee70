import type { LiveCounts } from '../api.js';
import { LiveChoice } from './live-choice.js';
import { LiveCount } from './live-count.js';
import { LiveLike } from './live-like.js';
import { LiveMilestone } from './live-milestone.js';
import { LiveViewers } from './live-viewers.js';
import { setClientFactory } from './page-client.js';

/** Defines the elements unless there is no page or another script has defined them. */
export function registerElements(create: () => LiveCounts): void {
  setClientFactory(create);
  if (typeof customElements === 'undefined' || customElements.get('live-count')) return;
  customElements.define('live-count', LiveCount);
  customElements.define('live-viewers', LiveViewers);
  customElements.define('live-like', LiveLike);
  customElements.define('live-choice', LiveChoice);
  customElements.define('live-milestone', LiveMilestone);
}
