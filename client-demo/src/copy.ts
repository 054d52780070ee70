import './copy.css';
import { find, setText } from './page.js';

const COPIED_MS = 2_000;

/** Lets the button of the page copy this text. */
export function enableCopy(code: HTMLElement): void {
  const button = find('#copy');
  button.addEventListener('click', () => void copy(code, button));
}

async function copy(code: HTMLElement, button: HTMLElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(code.textContent);
    setText(button, 'Copied');
  } catch {
    // There is no clipboard without HTTPS or permission. The user can copy the selection by hand.
    getSelection()?.selectAllChildren(code);
    setText(button, 'Selected');
  }
  setTimeout(() => setText(button, 'Copy'), COPIED_MS);
}
