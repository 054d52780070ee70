const PIECES = 40;
const FALL_MS = 1_600;
/** Seen well on light and dark pages. */
const COLORS = ['#e5446d', '#f2a93b', '#3bb273', '#4d9de0', '#a06cd5'];
/** Also without the reader's own colours: those of the pieces would be replaced by that of the page. */
const STILL = '(prefers-reduced-motion: reduce), (forced-colors: active)';

/** Lets confetti fly from the middle of an element, once, unless the reader prefers no motion or has colours of their own. */
export function celebrate(root: ShadowRoot, from: Element): void {
  // A DOM that draws nothing, such as jsdom.
  if (typeof matchMedia === 'undefined' || matchMedia(STILL).matches) return;
  const { left, top, width, height } = from.getBoundingClientRect();
  const layer = document.createElement('span');
  layer.className = 'confetti';
  layer.ariaHidden = 'true';
  const pieces = Array.from({ length: PIECES }, () => document.createElement('span'));
  layer.append(...pieces);
  root.append(layer);
  const flights = pieces.map((piece, i) => fly(piece, COLORS[i % COLORS.length]!, left + width / 2, top + height / 2));
  void Promise.allSettled(flights).then(() => layer.remove());
}

/** Up and to a side, then down. @param x of its start, in the viewport */
function fly(piece: Element, backgroundColor: string, x: number, y: number): Promise<unknown> {
  const side = (Math.random() - 0.5) * 360;
  const up = 60 + Math.random() * 140;
  const turn = (Math.random() - 0.5) * 1_440;
  const at = (share: number, rise: number): string =>
    `translate(${x + share * side}px, ${y - rise}px) rotate(${share * turn}deg)`;
  const frames = [
    { transform: at(0, 0), opacity: 1, backgroundColor, easing: 'ease-out' },
    { transform: at(0.5, up), opacity: 1, backgroundColor, easing: 'ease-in', offset: 0.4 },
    { transform: at(1, -160), opacity: 0, backgroundColor },
  ];
  return piece.animate(frames, { duration: FALL_MS * (0.8 + Math.random() * 0.2), fill: 'both' }).finished;
}
