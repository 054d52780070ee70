import './style.css';
import { connectWidgets, createLiveCounts, type LiveCounts } from 'tallycast-client/widgets';
import { drillPort } from './drill.js';

/** Finds an element of the page. @throws Error if it is missing, which the first load of the page shows */
export function find(selector: string, within: ParentNode = document): HTMLElement {
  const element = within.querySelector<HTMLElement>(selector);
  if (!element) throw new Error(`the page has no ${selector}`);
  return element;
}

/** Sets the text only if it changes, because screen readers announce every write. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The address of the gateway, without a slash at its end. The link to the first page leads there, whatever path it is under. */
export function gatewayUrl(): string {
  const { origin, pathname } = new URL(document.querySelector<HTMLAnchorElement>('a.brand')!.href);
  return origin + pathname.replace(/\/$/, '');
}

/**
 * Makes the client that all widgets of this page share, and shows its state in the header.
 * @param watch wraps that client
 */
export function connectPage(watch = (live: LiveCounts): LiveCounts => live): LiveCounts {
  const live = watch(createLiveCounts(gatewayUrl()));
  connectWidgets(live);
  showState(live, find('[data-testid=state]'));
  keepDrill();
  return live;
}

/** The drill of this page is that of the pages that it links to. */
function keepDrill(): void {
  const port = drillPort();
  if (port === null) return;
  for (const link of document.querySelectorAll<HTMLAnchorElement>('a[href]')) {
    const url = new URL(link.href);
    if (url.origin !== location.origin || url.hash !== '') continue;
    url.searchParams.set('drill', String(port));
    link.href = url.href;
  }
}

/** Shows the state of a client. @returns a function that shows it again */
export function showState(live: LiveCounts, element: HTMLElement, isUnplugged = (): boolean => false): () => void {
  let reached = false;
  const show = (): void => {
    reached ||= live.state === 'synced';
    element.dataset['state'] = live.state;
    const away = isUnplugged() ? 'unplugged' : reached ? 'reconnecting' : 'connecting';
    setText(element, live.state === 'synced' ? 'live' : away);
  };
  live.on('syncing', show);
  live.on('synced', show);
  show();
  return show;
}
