import './article.css';
import { connectPage, find, say } from './page.js';

const COPIED_MS = 2_000;

const live = connectPage();
choosePost(new URLSearchParams(location.search).get('post') ?? 'welcome');
find('#second-window').setAttribute('href', location.href);
find('#copy').addEventListener('click', () => void copy());

/** Whatever the address names; the code beside the article names the same, and this gateway. */
function choosePost(post: string): void {
  const notice = find('#notice');
  const complain = (message: string): void => {
    say(notice, message);
    notice.hidden = false;
  };
  document.addEventListener('live-error', (event) =>
    complain((event as CustomEvent<{ message: string }>).detail.message),
  );
  try {
    live.post(post);
  } catch (error) {
    return complain(error instanceof Error ? error.message : String(error));
  }
  for (const widget of document.querySelectorAll('[post]')) widget.setAttribute('post', post);
  for (const name of document.querySelectorAll('[data-part=post]')) say(name as HTMLElement, post);
  say(find('[data-part=origin]'), location.origin);
}

async function copy(): Promise<void> {
  const code = find('#tags');
  const button = find('#copy');
  try {
    await navigator.clipboard.writeText(code.textContent);
    say(button, 'Copied');
  } catch {
    // Without HTTPS, or without permission, there is no clipboard. What is selected can be copied by hand.
    getSelection()?.selectAllChildren(code);
    say(button, 'Selected');
  }
  setTimeout(() => say(button, 'Copy'), COPIED_MS);
}
