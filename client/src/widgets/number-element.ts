import type { Change } from '../post-counts.js';
import { LiveElement, reflect } from './live-element.js';
import { numberFormat, pluralForm } from './numbers.js';
import { RollingNumber } from './rolling-number.js';
import { SEEN } from './visibility.js';

/** `live-count-change`: a widget has its first number or a new one. */
export interface LiveCountChange {
  readonly post: string;
  readonly metric: string;
  readonly count: number;
  /** Difference from the previous number; 0 the first time. */
  readonly delta: number;
  readonly source: Change['source'];
}

/** One number of a post, in the language of the text around it. The first number replaces the content of the element. */
export abstract class NumberElement extends LiveElement {
  /** Has the exact number as its tooltip if a short one is shown. */
  titled: HTMLElement;
  /** The number with all its digits, and the hint, once it is shown. */
  exactText = '';
  protected readonly number = new RollingNumber();
  readonly #exact = document.createElement('span');
  readonly #unit = document.createElement('span');
  #count: number | undefined;
  #written: number | undefined;
  #isShort = false;

  constructor() {
    super();
    const { element } = this.number;
    this.titled = element;
    element.setAttribute('part', 'number');
    this.#exact.className = 'exact';
    this.#unit.setAttribute('part', 'unit');
    this.shadowRoot!.prepend(element);
    this.shadowRoot!.append(this.#unit);
  }

  get metric(): string {
    return this.getAttribute('metric') ?? 'likes';
  }

  set metric(metric: string | null | undefined) {
    reflect(this, 'metric', metric);
  }

  /** The newest number; undefined until it arrives. The attribute `data-count` follows in the next animation frame. */
  get count(): number | undefined {
    return this.#count;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.number.finish();
  }

  protected override forget(): void {
    super.forget();
    this.#count = undefined;
  }

  protected override applyChange(change: Change): void {
    super.applyChange(change);
    const { counts, source } = change;
    const { post, metric } = this;
    if (!this.checkMetric(metric)) return;
    const count = counts[metric]!;
    const before = this.#count;
    if (count === before) return;
    this.#count = count;
    this.scheduleWrite();
    this.emit('live-count-change', { post, metric, count, delta: count - (before ?? count), source });
  }

  protected override write(): void {
    const count = this.#count;
    const before = this.#written;
    this.#written = count;
    this.fallback.hidden = count !== undefined;
    if (count === undefined) return this.#writeNothing();
    const notation = this.getAttribute('notation') === 'standard' ? 'standard' : 'compact';
    const text = numberFormat(this.locale, notation).format(count);
    const exact = notation === 'standard' ? text : numberFormat(this.locale, 'standard').format(count);
    const direction = before !== undefined && count < before ? 'down' : 'up';
    this.number.show(text, this.visibility >= SEEN && before !== undefined ? direction : undefined);
    this.dataset['count'] = String(count);
    const unit = this.getAttribute(pluralForm(this.locale, count)) ?? this.getAttribute('other');
    this.#unit.textContent = unit && `\xa0${unit}`;
    const full = unit === null && this.hint ? `${exact} ${this.hint}` : exact;
    this.#writeExact(full, text !== full);
  }

  /** Explains the number unless it has a unit. */
  protected get hint(): string {
    return '';
  }

  /** If the shown number is short, makes the full text its tooltip and the text for screen readers. */
  #writeExact(exact: string, isShort: boolean): void {
    if (exact === this.exactText && isShort === this.#isShort) return;
    const { element } = this.number;
    this.exactText = exact;
    if (isShort) this.titled.title = this.#exact.textContent = exact;
    if (isShort === this.#isShort) return;
    this.#isShort = isShort;
    element.ariaHidden = isShort ? 'true' : null;
    // Visually hidden text costs a layer, so it exists only with a short number.
    if (isShort) return this.#unit.before(this.#exact);
    this.titled.removeAttribute('title');
    this.#exact.remove();
  }

  #writeNothing(): void {
    this.number.show('');
    this.#unit.textContent = '';
    this.#writeExact('', false);
    delete this.dataset['count'];
  }
}
