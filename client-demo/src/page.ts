import './style.css';
import { connectWidgets, createLiveCounts, type LiveCounts } from 'tallycast-client/widgets';

/** The element that the page is known to have; a missing one is a mistake in the page, found at the first load. */
export function find(selector: string, within: ParentNode = document): HTMLElement {
  const element = within.querySelector<HTMLElement>(selector);
  if (!element) throw new Error(`the page has no ${selector}`);
  return element;
}

/** Says something new, and nothing where it is said already: screen readers hear every write. */
export function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The client that all widgets of this page share; its state stands in the header. */
export function connectPage(): LiveCounts {
  const live = createLiveCounts(location.origin);
  connectWidgets(live);
  showState(live, find('[data-testid=state]'));
  return live;
}

/** Shows the state of a client; gives back how to show it again. */
export function showState(live: LiveCounts, element: HTMLElement, isUnplugged = (): boolean => false): () => void {
  let reached = false;
  const show = (): void => {
    reached ||= live.state === 'synced';
    element.dataset['state'] = live.state;
    const away = isUnplugged() ? 'unplugged' : reached ? 'reconnecting' : 'connecting';
    say(element, live.state === 'synced' ? 'live' : away);
  };
  live.on('syncing', show);
  live.on('synced', show);
  show();
  return show;
}
