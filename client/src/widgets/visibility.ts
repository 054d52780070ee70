import { isHalfVisible, THRESHOLDS } from '../page-view.js';

/** Widgets this close to the viewport are subscribed, so that the count is there when the user scrolls to them. */
const MARGIN = '400px';
/** Too short to notice while scrolling; it keeps a page with thousands of changing widgets from checking every frame. */
const DELAY_MS = 100;

/** In the order of their nearness. */
export const FAR = 0;
/** Close to the viewport. */
export const NEAR = 1;
/** Partly within the viewport. */
export const SEEN = 2;
/** Half within it: see `isHalfVisible`. */
export const HALF_SEEN = 3;

const listeners = new WeakMap<Element, (visibility: number) => void>();
let observers: { readonly near: IntersectionObserver; readonly seen: IntersectionObserver } | undefined;

/** Reports the visibility of the element, soon and at every change. Two observers serve all elements. */
export function observeVisibility(element: Element, changed: (visibility: number) => void): void {
  listeners.set(element, changed);
  if (typeof IntersectionObserver !== 'undefined') observe().near.observe(element);
  // A DOM that lays nothing out, such as jsdom.
  else changed(HALF_SEEN);
}

export function unobserveVisibility(element: Element): void {
  // Entries that are queued already are still delivered.
  listeners.delete(element);
  observers?.near.unobserve(element);
  observers?.seen.unobserve(element);
}

function observe(): NonNullable<typeof observers> {
  if (observers) return observers;
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const visibility = isHalfVisible(entry) ? HALF_SEEN : SEEN;
        listeners.get(entry.target)?.(entry.isIntersecting ? visibility : NEAR);
      }
    },
    { threshold: THRESHOLDS, delay: DELAY_MS } as IntersectionObserverInit,
  );
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const changed = listeners.get(target);
        if (!changed) continue;
        changed(isIntersecting ? NEAR : FAR);
        seen[isIntersecting ? 'observe' : 'unobserve'](target);
      }
    },
    // `scrollMargin` is for elements in a scroll container or a frame. Chromium, which alone has `delay`, takes the page for a
    // scroll container and would add both margins.
    {
      rootMargin: 'delay' in IntersectionObserver.prototype ? '0px' : MARGIN,
      scrollMargin: MARGIN,
      delay: DELAY_MS,
    } as IntersectionObserverInit,
  );
  return (observers = { near, seen });
}
