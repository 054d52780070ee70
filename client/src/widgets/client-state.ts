import type { LiveCounts } from '../api.js';

/** A client that watches further posts, because the user scrolls, is current again before that; nothing is shown as stale. */
const STALE_MS = 500;

type Follow = (element: HTMLElement) => () => void;

const followers = new WeakMap<LiveCounts, Follow>();

/**
 * Keeps `data-state` of the element equal to the state of the client, from the next moment on: a framework may hydrate
 * the element first, and complains of attributes that the server has not rendered.
 * @returns a function that ends this
 */
export function followState(live: LiveCounts, element: HTMLElement): () => void {
  let follow = followers.get(live);
  if (!follow) followers.set(live, (follow = listen(live)));
  return follow(element);
}

/** Listens once for all elements, and writes only what differs. */
function listen(live: LiveCounts): Follow {
  const elements = new Set<HTMLElement>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const write = (): void => {
    timer = undefined;
    for (const { dataset } of elements) if (dataset['state'] !== live.state) dataset['state'] = live.state;
  };
  const changed = (): void => {
    clearTimeout(timer);
    timer = setTimeout(write, live.state === 'synced' ? 0 : STALE_MS);
  };
  live.on('syncing', changed);
  live.on('synced', changed);
  return (element) => {
    elements.add(element);
    if (!timer) changed();
    return () => elements.delete(element);
  };
}
