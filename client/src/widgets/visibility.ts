/** Tracked so far ahead that the count is there by the time it is scrolled to. */
const MARGIN = '400px';
/** Who scrolls sees nothing of it, and a page with thousands of widgets that change does not look again in every frame. */
const DELAY_MS = 200;

export interface VisibilityListener {
  /** Within the viewport or close to it. */
  near(is: boolean): void;
  /** Within the viewport. */
  becameVisible(is: boolean): void;
}

const viewed = new WeakMap<Element, VisibilityListener>();
let observers: { readonly near: IntersectionObserver; readonly seen: IntersectionObserver } | undefined;

/** Tells where the element is, first in a moment, then at every change, until `unobserveVisibility`. Two observers serve a page. */
export function observeVisibility(element: Element, callbacks: VisibilityListener): void {
  viewed.set(element, callbacks);
  observe().near.observe(element);
}

export function unobserveVisibility(element: Element): void {
  // Entries that are on their way come all the same.
  viewed.delete(element);
  observers?.near.unobserve(element);
  observers?.seen.unobserve(element);
}

function observe(): NonNullable<typeof observers> {
  if (observers) return observers;
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) viewed.get(target)?.becameVisible(isIntersecting);
    },
    { delay: DELAY_MS } as IntersectionObserverInit,
  );
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const callbacks = viewed.get(target);
        if (!callbacks) continue;
        callbacks.near(isIntersecting);
        if (isIntersecting) seen.observe(target);
        else seen.unobserve(target);
      }
    },
    // The first is for what scrolls with the page, the second for what scrolls within it.
    { rootMargin: MARGIN, scrollMargin: MARGIN, delay: DELAY_MS } as IntersectionObserverInit,
  );
  return (observers = { near, seen });
}
