import type { LiveCounts, Post } from './api.js';
import type { LiveCountsError } from './errors.js';

/**
 * Half of the pixels for one second without a break: the viewable impression of IAB and MRC.
 * https://mediaratingcouncil.org/sites/default/files/Standards/063014%20Viewable%20Ad%20Impression%20Guideline_Final.pdf
 */
const VIEWED_MS = 1_000;
/** Close together for small shares: a twentieth of an element ten times as high as the viewport fills half of the viewport. */
export const THRESHOLDS = Array.from({ length: 21 }, (_, i) => (i / 20) ** 3 / 2);

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

/** Whether half of the element is visible, or if it is higher than the viewport, half of the height of the viewport is filled. */
export function isHalfVisible({ intersectionRatio, intersectionRect, rootBounds }: IntersectionObserverEntry): boolean {
  // In a frame of another origin the viewport is unknown.
  return intersectionRatio >= 0.5 || intersectionRect.height >= (rootBounds?.height ?? Infinity) / 2;
}

/**
 * Calls `viewed` each time that something was visible for a second, in a page that was. Pages in background tabs are
 * hidden, and so are those that the browser loads ahead.
 * @returns a function to call with whether it is visible
 */
export function timeView(viewed: () => void): (isVisible: boolean) => void {
  let isVisible = false;
  let timer: ReturnType<typeof setTimeout>;
  const restart = (): void => {
    clearTimeout(timer);
    if (isVisible && !document.hidden) timer = setTimeout(viewed, VIEWED_MS);
  };
  return (is) => {
    if (is === isVisible) return;
    isVisible = is;
    document[is ? 'addEventListener' : 'removeEventListener']('visibilitychange', restart);
    restart();
  };
}
