import { currentRenderShare } from './render-budget.js';

/** Long enough to be seen, short enough to end before the user looks again. */
const ROLL_MS = 400;
/** Each rolling digit is a layer of its own, and more would cost frames. On a busy page the other numbers just change. */
const ROLLING_MAX = 50;

/** Splits a text into what precedes the first digit, from there to the last digit, and the rest: `1.2` and `M`. */
const DIGITS = /^(\P{Nd}*)(.*\p{Nd})(.*)$/su;
const DIGIT = /\p{Nd}/u;

const rolling = new Set<RollingNumber>();
let reducedMotion: MediaQueryList | undefined;

function prefersReducedMotion(): boolean {
  // A DOM without styles, such as jsdom, moves nothing.
  if (typeof matchMedia === 'undefined') return true;
  if (!reducedMotion) {
    reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');
    reducedMotion.addEventListener('change', () => {
      for (const number of rolling) number.finish();
    });
  }
  return reducedMotion.matches;
}

/**
 * A number whose changed digits roll: up when it grows, down when it shrinks. At rest it is plain text. While it rolls,
 * each changed digit is a column with the old and the new digit, moved by a transform only. A further change replaces the
 * digits in the columns that roll already.
 *
 *     1,23 | 4 |      one of a column's two lines is visible
 *          | 5 |
 */
export class RollingNumber {
  readonly element = document.createElement('span');
  readonly #before = new Text();
  /** Digits run from left to right in every script, also as columns. */
  readonly #digits = document.createElement('bdi');
  readonly #after = new Text();
  #shown = '';
  /** One a character while the number rolls. */
  #cells: readonly Text[] | undefined;

  constructor() {
    this.#digits.dir = 'ltr';
    this.element.append(this.#before, this.#digits, this.#after);
  }

  /** @param direction of the roll; without it the number just changes */
  show(text: string, direction?: 'up' | 'down'): void {
    const [, before = '', digits = '', after = text] = DIGITS.exec(text) ?? [];
    if (this.#before.data !== before) this.#before.data = before;
    if (this.#after.data !== after) this.#after.data = after;
    const shown = this.#shown;
    if (digits === shown) return;
    this.#shown = digits;
    if (this.#cells) this.#replaceDigits(digits);
    else if (direction && rolling.size < ROLLING_MAX * currentRenderShare() && !prefersReducedMotion())
      this.#roll(shown, digits, direction);
    else this.finish();
  }

  /** Ends the roll and leaves plain text. */
  finish(): void {
    this.#cells = undefined;
    rolling.delete(this);
    this.#digits.className = '';
    this.#digits.textContent = this.#shown;
  }

  #replaceDigits(digits: string): void {
    const characters = Array.from(digits);
    if (characters.length !== this.#cells?.length) return this.finish();
    for (const [i, cell] of this.#cells.entries()) if (cell.data !== characters[i]) cell.data = characters[i]!;
  }

  #roll(from: string, to: string, direction: 'up' | 'down'): void {
    const old = Array.from(from);
    const characters = Array.from(to);
    const longer = characters.length - old.length;
    const cells = characters.map((character) => new Text(character));
    const moved: Element[] = [];
    this.#digits.replaceChildren(
      ...cells.map((cell, i) => {
        const was = old[i - longer];
        if (was === cell.data || !DIGIT.test(cell.data)) return cell;
        const column = makeColumn(cell, was ?? '', direction);
        moved.push(column);
        return column;
      }),
    );
    this.#cells = cells;
    this.#digits.className = 'rolling';
    rolling.add(this);
    const transform = [`translateY(${direction === 'up' ? 100 : -100}%)`, 'none'];
    for (const [i, element] of moved.entries()) {
      const animation = element.animate({ transform }, { duration: ROLL_MS, easing: 'cubic-bezier(.2,.7,.2,1)' });
      if (i === 0) animation.onfinish = () => this.#cells === cells && this.finish();
    }
    if (moved.length === 0) this.finish();
  }
}

function makeColumn(cell: Text, was: string, direction: 'up' | 'down'): HTMLElement {
  const column = document.createElement('span');
  column.className = direction;
  column.dataset['was'] = was;
  column.append(cell);
  return column;
}
