import type { LiveCounts, Post } from './client.js';
import type { LiveCountsError } from './errors.js';

/**
 * Half of the pixels for one second without a break: the viewable impression of IAB and MRC.
 * https://mediaratingcouncil.org/sites/default/files/Standards/063014%20Viewable%20Ad%20Impression%20Guideline_Final.pdf
 */
const VIEWED_MS = 1_000;
/** Close together for small shares: a twentieth of an element ten times as high as the viewport fills half of the viewport. */
const THRESHOLDS = Array.from({ length: 21 }, (_, i) => (i / 20) ** 3 / 2);

/** By gateway, post and metric: what this page view has counted. */
let counted: Set<string>;
let path: string | undefined;

/**
 * Adds one to a metric of a post unless this page view has done so, from whatever element and by whatever client of the
 * gateway. A page view begins when the document is loaded or comes back from the back-forward cache, and at a navigation
 * within the document to another path.
 */
export async function countOnce(live: LiveCounts, post: Post, metric: string): Promise<void> {
  if (path === undefined) addEventListener('pageshow', ({ persisted }) => persisted && counted.clear());
  if (path !== location.pathname) counted = new Set();
  path = location.pathname;
  const key = `${live.gateway} ${post.id} ${metric}`;
  if (counted.has(key)) return;
  const view = counted.add(key);
  try {
    await post.add(metric);
  } catch (error) {
    if ((error as LiveCountsError).code !== 'OUTCOME_UNKNOWN') view.delete(key);
    throw error;
  }
}

/**
 * Calls `viewed` each time that the visitor has seen the element for a second: half of it, or of the height of the viewport
 * if the element is higher. Pages in background tabs and prerendered pages are hidden.
 * @param element undefined: the page; null: none
 * @returns a function that ends the calls
 */
export function observeView(viewed: () => void, element: Element | null | undefined): () => void {
  // A DOM that lays nothing out, such as jsdom, has no observers.
  const isLaidOut = typeof IntersectionObserver !== 'undefined';
  let isVisible = element === undefined || (element !== null && !isLaidOut);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const update = (): void => {
    if (isVisible && !document.hidden) {
      timer ??= setTimeout(viewed, VIEWED_MS);
    } else {
      clearTimeout(timer);
      timer = undefined;
    }
  };
  const observe = (target: Element): IntersectionObserver => {
    const observer = new IntersectionObserver(
      (entries) => {
        const { intersectionRatio, intersectionRect, rootBounds } = entries.at(-1)!;
        // In a frame of another origin the viewport is unknown.
        const half = (rootBounds?.height ?? Infinity) / 2;
        isVisible = intersectionRatio >= 0.5 || intersectionRect.height >= half;
        update();
      },
      { threshold: THRESHOLDS },
    );
    observer.observe(target);
    return observer;
  };
  const observer = element && isLaidOut ? observe(element) : undefined;
  document.addEventListener('visibilitychange', update);
  update();
  return () => {
    observer?.disconnect();
    document.removeEventListener('visibilitychange', update);
    clearTimeout(timer);
  };
}
