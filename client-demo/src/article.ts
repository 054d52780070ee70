import './article.css';
import { enableCopy } from './copy.js';
import { connectPage, find, gatewayUrl, setText } from './page.js';

const live = connectPage();
choosePost(new URLSearchParams(location.search).get('post') ?? 'welcome');
find('#second-window').setAttribute('href', location.href);
enableCopy(find('#tags'));

/** Shows the post in the address, in the code beside the article as well. */
function choosePost(post: string): void {
  const notice = find('#notice');
  const complain = (message: string): void => {
    setText(notice, message);
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
  for (const name of document.querySelectorAll('[data-part=post]')) setText(name as HTMLElement, post);
  setText(find('[data-part=gateway]'), gatewayUrl());
}
