import type { Snapshot } from './snapshot.js';

/** The part of a subscription that its post keeps. */
interface CleanListItem {
  /** Its place in `#clean`; -1 while it is not there. */
  cleanIndex: number;
}

/** A post that somebody here watches. */
export class WatchedPost<S extends CleanListItem> {
  /** `null` until it was first read. */
  latest: Snapshot | null = null;
  /** Subscriptions that have been given `latest`. The others are in their viewer's `dirty`, or wait for their snapshot. */
  #clean: S[] = [];
  subscriptionCount = 0;
  /** Subscriptions that began with another number of viewers than `latest` had: to be told again, or for the first time. */
  readonly withOutdatedViewerCount: S[] = [];
  /** Viewers on all gateways, as the store told it last. */
  reportedViewers = 0;

  constructor(readonly id: string) {}

  /**
   * Takes a newer state. No subscription is clean any more: further changes before its viewer's next frame cost nothing,
   * however many viewers there are.
   * @param touched takes each that was clean, once, to make it dirty
   */
  replace(next: Snapshot, touched: (subscription: S) => void): void {
    this.latest?.retire();
    this.latest = next;
    const clean = this.#clean;
    this.#clean = [];
    for (const subscription of clean) {
      subscription.cleanIndex = -1;
      touched(subscription);
    }
  }

  /** The subscription, which is neither clean nor dirty, has been given `latest`. */
  markClean(subscription: S): void {
    subscription.cleanIndex = this.#clean.length;
    this.#clean.push(subscription);
  }

  /** Whether it was clean: is no more, and not dirty. */
  removeClean(subscription: S): boolean {
    const { cleanIndex: place } = subscription;
    if (place === -1) return false;
    const last = this.#clean.pop()!;
    if (last !== subscription) {
      this.#clean[place] = last;
      last.cleanIndex = place;
    }
    subscription.cleanIndex = -1;
    return true;
  }
}
