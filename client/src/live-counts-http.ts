import type { LiveCounts } from './api.js';
import { Client } from './client.js';
import { EventsTransport } from './events-transport.js';
import type { Options } from './options.js';

export { LiveCountsError } from './errors.js';
export { postId } from './post-id.js';
export type { LiveCounts, Post } from './api.js';
export type { Milestone, MilestoneList, ReachedMilestone } from './milestones.js';
export type { LiveCountsEvents, Options } from './options.js';
export type { Change, Counts } from './post-counts.js';

/** See live-counts.ts. Uses Server-Sent Events and HTTP only: less code to load, and a request for each operation. */
export function createLiveCounts(url: string, options: Options = {}): LiveCounts {
  return new Client(url, options, (gateway, environment) => [new EventsTransport(gateway, environment)]);
}
