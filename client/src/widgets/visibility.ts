/** Widgets this close to the viewport are subscribed, so that the count is there when the user scrolls to them. */
const MARGIN = '400px';
/** Too short to notice while scrolling; it keeps a page with thousands of changing widgets from checking every frame. */
const DELAY_MS = 200;

export interface VisibilityListener {
  /** Within the viewport or close to it. */
  near(is: boolean): void;
  /** Within the viewport. */
  becameVisible(is: boolean): void;
}

const viewed = new WeakMap<Element, VisibilityListener>();
let observers: { readonly near: IntersectionObserver; readonly seen: IntersectionObserver } | undefined;

/** Reports whether the element is near or visible, soon and at every change. Two observers serve all elements. */
export function observeVisibility(element: Element, callbacks: VisibilityListener): void {
  viewed.set(element, callbacks);
  if (typeof IntersectionObserver !== 'undefined') return observe().near.observe(element);
  // A DOM that lays nothing out, such as jsdom.
  callbacks.near(true);
  callbacks.becameVisible(true);
}

export function unobserveVisibility(element: Element): void {
  // Entries that are queued already are still delivered.
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
