import type { LiveCounts } from '../client.js';
import { LiveCount } from './live-count.js';
import { LiveLike } from './live-like.js';
import { LiveViewers } from './live-viewers.js';
import { setClientFactory } from './page-client.js';

/** Makes the elements known to the page, where there is one, unless another script has done so. */
export function defineWidgets(create: () => LiveCounts): void {
  setClientFactory(create);
  if (typeof customElements === 'undefined' || customElements.get('live-count')) return;
  customElements.define('live-count', LiveCount);
  customElements.define('live-viewers', LiveViewers);
  customElements.define('live-like', LiveLike);
}
