import { Client, type LiveCounts, type Options } from './client.js';
import { EventsTransport } from './events-transport.js';
import { SocketTransport } from './socket-transport.js';

export { LiveCountsError } from './errors.js';
export type { LiveCounts, LiveCountsEvents, Options, Post } from './client.js';
export type { Change, Counts } from './post-counts.js';

/**
 * Live counts of a gateway over a WebSocket, or over Server-Sent Events and HTTP where no WebSocket gets through. One
 * client serves all posts of a page.
 * @param url the gateway's address, `https://counts.example`; a path after it is ignored
 */
export function createLiveCounts(url: string, options: Options = {}): LiveCounts {
  return new Client(url, options, (origin, environment) => {
    const events = new EventsTransport(origin, environment);
    return environment.WebSocket ? [new SocketTransport(origin, environment), events] : [events];
  });
}
