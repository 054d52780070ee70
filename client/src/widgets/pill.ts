/**
 * Makes what a user sees as a button, and the button. The button lies over the content: inside the button a number would be
 * part of its name, and a screen reader would read every change while the button has the focus.
 */
export function makePill(press: () => void, ...content: readonly Node[]): HTMLElement {
  const pill = document.createElement('span');
  pill.setAttribute('part', 'button');
  const button = document.createElement('button');
  button.type = 'button';
  button.addEventListener('click', press);
  pill.append(...content, button);
  return pill;
}
