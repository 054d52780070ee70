import type { Snapshot } from './snapshot.js';
import type { Subscription, Viewer } from './viewer.js';

/** A post that somebody here watches. */
export class WatchedPost {
  /** `null` until it was first read. */
  latest: Snapshot | null = null;
  /** Subscriptions that have been given `latest`. The others are in their viewer's `dirty`, or wait for their snapshot. */
  readonly clean = new Set<Subscription>();
  subscriptions = 0;
  /** Viewers on all gateways, as the store told it last. */
  told = 0;

  constructor(readonly id: string) {}

  /**
   * Takes a newer state. Every clean subscription becomes dirty, once: further changes before its viewer's next
   * frame cost nothing, however many viewers there are.
   * @returns through `touched` the viewers of those that were clean.
   */
  replace(next: Snapshot, touched: (viewer: Viewer) => void): void {
    this.latest?.retire();
    this.latest = next;
    for (const subscription of this.clean) {
      subscription.viewer.dirty.add(subscription);
      touched(subscription.viewer);
    }
    this.clean.clear();
  }
}
