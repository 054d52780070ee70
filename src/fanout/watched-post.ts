import type { Snapshot } from './snapshot.js';
import type { Subscription, Viewer } from './viewer.js';

/** A post that somebody here watches. */
export class WatchedPost {
  /** `null` until it was first read. */
  latest: Snapshot | null = null;
  /** Subscriptions that have been given `latest`. The others are in their viewer's `dirty`, or wait for their snapshot. */
  #clean: Subscription[] = [];
  subscriptions = 0;
  /** Subscriptions that began with another number of viewers than `latest` had: to be told again, or for the first time. */
  readonly shownOtherwise: Subscription[] = [];
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
    const clean = this.#clean;
    this.#clean = [];
    for (const subscription of clean) {
      subscription.place = -1;
      subscription.viewer.dirty.push(subscription);
      touched(subscription.viewer);
    }
  }

  /** The subscription, which is neither clean nor dirty, has been given `latest`. */
  given(subscription: Subscription): void {
    subscription.place = this.#clean.length;
    this.#clean.push(subscription);
  }

  /** Whether it was clean: is no more, and not dirty. */
  forget(subscription: Subscription): boolean {
    const { place } = subscription;
    if (place === -1) return false;
    const last = this.#clean.pop()!;
    if (last !== subscription) {
      this.#clean[place] = last;
      last.place = place;
    }
    subscription.place = -1;
    return true;
  }
}
