import type { LiveCounts } from '../api.js';
import { MilestoneView } from './milestone-view.js';

const views = new WeakMap<HTMLElement, MilestoneView>();

/**
 * Starts a `<live-milestone>` if it is in the document, and else ends it. An older script calls this, too: it stays as it is.
 * @param pageClient returns the client of the tags of this page
 * @param followPageClient calls back when that is replaced, and returns a function that ends the calls
 */
export function updateMilestone(
  element: HTMLElement,
  pageClient: () => LiveCounts,
  followPageClient: (moved: () => void) => () => void,
): void {
  let view = views.get(element);
  if (!view) views.set(element, (view = new MilestoneView(element, pageClient, followPageClient)));
  view.update();
}
