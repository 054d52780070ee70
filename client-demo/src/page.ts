import './style.css';
import { connectWidgets, createLiveCounts, type LiveCounts } from 'tallycast-client/widgets';

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
  return document.querySelector<HTMLAnchorElement>('a.brand')!.href.replace(/\/$/, '');
}

/** Makes the client that all widgets of this page share, and shows its state in the header. */
export function connectPage(): LiveCounts {
  const live = createLiveCounts(gatewayUrl());
  connectWidgets(live);
  showState(live, find('[data-testid=state]'));
  return live;
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
