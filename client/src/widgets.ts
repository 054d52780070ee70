import { createLiveCounts } from './live-counts.js';
import { defineWidgets } from './widgets/define.js';
import type { LiveCount } from './widgets/live-count.js';
import type { LiveCountChange, LiveFailure } from './widgets/live-element.js';
import type { LikeTurned, LiveLike } from './widgets/live-like.js';
import type { LiveViewers } from './widgets/live-viewers.js';

export * from './live-counts.js';
export { connectWidgets } from './widgets/page-client.js';
export type { LikeTurned, LiveCount, LiveCountChange, LiveFailure, LiveLike, LiveViewers };

declare global {
  interface HTMLElementTagNameMap {
    'live-count': LiveCount;
    'live-like': LiveLike;
    'live-viewers': LiveViewers;
  }
  interface HTMLElementEventMap {
    'live-count-change': CustomEvent<LiveCountChange>;
    'live-error': CustomEvent<LiveFailure>;
    'live-like': CustomEvent<LikeTurned>;
  }
}

/** The elements `<live-like>`, `<live-count>` and `<live-viewers>`, by loading this. A script asks the gateway it came from. */
defineWidgets(() => createLiveCounts(import.meta.url));
