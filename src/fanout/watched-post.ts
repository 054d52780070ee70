import type { PostSnapshot } from './post-snapshot.js';

/** The part of a subscription that its post maintains. */
interface CleanListItem {
  /** Its index in `#clean`; -1 while it is not there. */
  cleanIndex: number;
}

/** A post that viewers of this gateway watch. */
export class WatchedPost<S extends CleanListItem> {
  /** `null` until the post was first read. */
  latest: PostSnapshot | null = null;
  /** Subscriptions that have got `latest`. The others are in their viewer's `dirty`, or wait for their first snapshot. */
  #clean: S[] = [];
  subscriptionCount = 0;
  /** Subscriptions whose first snapshot had an outdated number of viewers. They get the post again with the next change of it. */
  readonly withOutdatedViewerCount: S[] = [];
  /** Viewers on all gateways, as the store reported last. */
  reportedViewers = 0;

  constructor(readonly id: string) {}

  /**
   * Replaces the state by a newer one. Then no subscription is clean, so further changes before the viewers' next frames
   * cost nothing, however many viewers there are.
   * @param markDirty is called once for each subscription that was clean
   */
  replace(next: PostSnapshot, markDirty: (subscription: S) => void): void {
    this.latest?.retire();
    this.latest = next;
    const clean = this.#clean;
    this.#clean = [];
    for (const subscription of clean) {
      subscription.cleanIndex = -1;
      markDirty(subscription);
    }
  }

  /** To be called when the subscription, neither clean nor dirty, has got `latest`. */
  markClean(subscription: S): void {
    subscription.cleanIndex = this.#clean.length;
    this.#clean.push(subscription);
  }

  /** @returns whether the subscription was clean. It is neither clean nor dirty then. */
  removeClean(subscription: S): boolean {
    const { cleanIndex } = subscription;
    if (cleanIndex === -1) return false;
    const last = this.#clean.pop()!;
    if (last !== subscription) {
      this.#clean[cleanIndex] = last;
      last.cleanIndex = cleanIndex;
    }
    subscription.cleanIndex = -1;
    return true;
  }
}
