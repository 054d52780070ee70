import { createLiveCounts } from './live-counts.js';
import { findGateway, findStorage } from './widgets/page-client.js';
import { registerElements } from './widgets/register-elements.js';
import type { ChoiceTurned, LiveChoice } from './widgets/live-choice.js';
import type { LiveCount } from './widgets/live-count.js';
import type { LiveFailure } from './widgets/live-element.js';
import type { LikeTurned, LiveLike } from './widgets/live-like.js';
import type { LiveMilestone, MilestoneReached } from './widgets/live-milestone.js';
import type { LiveViewers } from './widgets/live-viewers.js';
import type { LiveCountChange } from './widgets/number-element.js';

export * from './live-counts.js';
export { connectWidgets } from './widgets/page-client.js';
export type { ChoiceTurned, LikeTurned, LiveChoice, LiveCount, LiveCountChange, LiveFailure, LiveLike, LiveMilestone };
export type { LiveViewers, MilestoneReached };

declare global {
  interface HTMLElementTagNameMap {
    'live-choice': LiveChoice;
    'live-count': LiveCount;
    'live-like': LiveLike;
    'live-milestone': LiveMilestone;
    'live-viewers': LiveViewers;
  }
  interface HTMLElementEventMap {
    'live-count-change': CustomEvent<LiveCountChange>;
    'live-error': CustomEvent<LiveFailure>;
    'live-choice': CustomEvent<ChoiceTurned>;
    'live-like': CustomEvent<LikeTurned>;
    'tallycast-milestone': CustomEvent<MilestoneReached>;
  }
}

/** Loading this defines the elements `live-…`. A script connects to the gateway it came from. */
registerElements(() => createLiveCounts(findGateway(import.meta.url), { storage: findStorage(import.meta.url) }));
