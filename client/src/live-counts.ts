import type { LiveCounts } from './api.js';
import { Client } from './client.js';
import { EventsTransport } from './events-transport.js';
import { SocketTransport } from './socket-transport.js';
import type { Options } from './options.js';

export { LiveCountsError } from './errors.js';
export { postId } from './post-id.js';
export type { LiveCounts, Post } from './api.js';
export type { Milestone, MilestoneList, ReachedMilestone } from './milestones.js';
export type { LiveCountsEvents, Options } from './options.js';
export type { Change, Counts } from './post-counts.js';

/**
 * Live counts of a gateway over a WebSocket, or over Server-Sent Events and HTTP where no WebSocket gets through. One
 * client serves all posts of a page.
 * @param url the gateway's address, `https://counts.example`, or `https://example.org/live` where it is under a path
 */
export function createLiveCounts(url: string, options: Options = {}): LiveCounts {
  return new Client(url, options, (gateway, environment) => {
    const events = new EventsTransport(gateway, environment);
    return environment.WebSocket ? [new SocketTransport(gateway, environment), events] : [events];
  });
}
