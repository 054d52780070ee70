import type { LiveCounts } from '../client.js';

/** A client that watches further posts, because the user scrolls, is current again before that; nothing is shown as stale. */
const STALE_MS = 500;

const elementsOf = new WeakMap<LiveCounts, Set<HTMLElement>>();

/**
 * Keeps `data-state` of the element equal to the state of the client.
 * @returns a function that ends this
 */
export function followState(live: LiveCounts, element: HTMLElement): () => void {
  let elements = elementsOf.get(live);
  if (!elements) elementsOf.set(live, (elements = listen(live)));
  elements.add(element);
  element.dataset['state'] = live.state;
  return () => elements.delete(element);
}

/** Listens once for all elements, and writes only what differs. */
function listen(live: LiveCounts): Set<HTMLElement> {
  const elements = new Set<HTMLElement>();
  let timer: ReturnType<typeof setTimeout>;
  const write = (): void => {
    for (const { dataset } of elements) if (dataset['state'] !== live.state) dataset['state'] = live.state;
  };
  const changed = (): void => {
    clearTimeout(timer);
    timer = setTimeout(write, live.state === 'synced' ? 0 : STALE_MS);
  };
  live.on('syncing', changed);
  live.on('synced', changed);
  return elements;
}
