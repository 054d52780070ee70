const format = new Intl.NumberFormat('en');
const still = matchMedia('(prefers-reduced-motion: reduce)');

/** `data-value` holds the number as it is, the text the number as it is read. */
export function showNumber(element: HTMLElement, value: number): void {
  const before = element.dataset['value'];
  if (before === String(value)) return;
  element.dataset['value'] = String(value);
  const text = format.format(value);
  if (before === undefined || still.matches) element.textContent = text;
  else roll(element, text, value > Number(before));
}

/**
 * Lets only the digits that changed roll in, from below when the number grew. At rest the element is a single text
 * again, as assistive technology reads it best.
 */
function roll(element: HTMLElement, text: string, grew: boolean): void {
  const shown = element.textContent;
  let same = 0;
  while (shown.length === text.length && shown[same] === text[same]) same++;
  const changed = document.createElement('span');
  changed.className = grew ? 'changed grew' : 'changed shrank';
  changed.textContent = text.slice(same);
  element.replaceChildren(text.slice(0, same), changed);
  changed.addEventListener('animationend', () => {
    // A later change has brought a span of its own.
    if (changed.parentNode === element) element.textContent = text;
  });
}
