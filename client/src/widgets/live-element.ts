import type { LiveCounts, Post } from '../client.js';
import type { LiveCountsError } from '../errors.js';
import type { Change } from '../post-counts.js';
import { scheduleWrite, cancelWrite } from './frame.js';
import { findLocale, numberFormat } from './numbers.js';
import { followPageClient, pageClient } from './page-client.js';
import { RollingNumber } from './rolling-number.js';
import { styleSheet } from './styles.js';
import { unobserveVisibility, observeVisibility } from './visibility.js';

/** `live-count-change`: a widget's number is known, or another one. */
export interface LiveCountChange {
  readonly post: string;
  readonly metric: string;
  readonly count: number;
  /** What differs from the number before; 0 the first time. */
  readonly delta: number;
  readonly source: Change['source'];
}

/** `live-error`: the gateway refused to tell a count, to take an operation, or to connect. */
export interface LiveFailure {
  readonly post: string;
  readonly code: LiveCountsError['code'];
  readonly message: string;
}

/** On a server there are no elements, and the classes are only named. */
const Base = typeof HTMLElement === 'undefined' ? (Object as unknown as typeof HTMLElement) : HTMLElement;

/**
 * A number of a post: tracked while near the viewport, written in the language around it, in place of what stands in the
 * element once it is known.
 */
export abstract class LiveElement extends Base {
  static readonly observedAttributes: readonly string[] = ['post', 'metric', 'notation', 'lang'];

  protected readonly number = new RollingNumber();
  /** Where a short number tells the exact one to the mouse. */
  protected titled: HTMLElement = this.number.element;
  readonly #exact = document.createElement('span');
  protected readonly fallback = document.createElement('slot');
  protected exactText = '';
  readonly #write = (): void => this.write();
  #live: LiveCounts | undefined;
  #count: number | undefined;
  #written: number | undefined;
  #locale = '';
  #isNear = false;
  #isShort = false;
  #isSeen = false;
  #stop: (() => void) | undefined;
  #tracks = 0;

  constructor(delegatesFocus = false) {
    super();
    const root = this.attachShadow({ mode: 'open', delegatesFocus });
    root.adoptedStyleSheets = [styleSheet()];
    this.number.element.part.add('number');
    this.#exact.className = 'exact';
    root.append(this.number.element, this.fallback);
    this.#takeEarly();
  }

  /** What it counts. */
  abstract get metric(): string;

  get post(): string {
    return this.getAttribute('post') ?? '';
  }

  /** As the attribute; `null` and undefined remove it. Frameworks set properties where there are some. */
  set post(post: string | number | null | undefined) {
    this.reflect('post', post);
  }

  /** The number as it is now; undefined until it is known. The attribute `data-count` follows in the next frame. */
  get count(): number | undefined {
    return this.#count;
  }

  /** The client of this element alone; without one it uses the page's. */
  get live(): LiveCounts | undefined {
    return this.#live;
  }

  set live(live: LiveCounts | undefined) {
    if (live === this.#live) return;
    this.#live = live;
    this.#track();
  }

  connectedCallback(): void {
    this.#locale = findLocale(this);
    scheduleWrite(this.#write);
    observeVisibility(this, {
      near: (isNear) => {
        if (isNear === this.#isNear) return;
        this.#isNear = isNear;
        if (!isNear) this.#isSeen = false;
        this.#track();
      },
      becameVisible: (isSeen) => {
        this.#isSeen = isSeen;
        if (isSeen) this.seen();
      },
    });
  }

  /** Moved by `moveBefore`: nothing begins again. */
  connectedMoveCallback(): void {
    this.#locale = findLocale(this);
    scheduleWrite(this.#write);
  }

  disconnectedCallback(): void {
    unobserveVisibility(this);
    this.#isNear = this.#isSeen = false;
    this.#track();
    cancelWrite(this.#write);
    this.number.finish();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after) return;
    if (name === 'post' || name === 'metric') {
      this.resetCount();
      this.#track();
      // Other attributes of the same change come first.
      queueMicrotask(() => this.#isSeen && this.seen());
    } else if (name === 'lang') {
      this.#locale = findLocale(this);
    }
    if (this.isConnected) scheduleWrite(this.#write);
  }

  /** It has come into view. */
  protected seen(): void {
    // Some widgets act on it.
  }

  /** What was known was of another post. */
  protected resetCount(): void {
    this.#count = undefined;
  }

  /** What the client tells of the post. */
  protected applyChange({ counts, source }: Change): void {
    const count = counts[this.metric] ?? 0;
    const before = this.#count;
    if (count === before) return;
    this.#count = count;
    scheduleWrite(this.#write);
    const { post, metric } = this;
    this.emit('live-count-change', { post, metric, count, delta: count - (before ?? count), source });
  }

  /** Brings the DOM up to date; called in a frame. */
  protected write(): void {
    const count = this.#count;
    const before = this.#written;
    this.#written = count;
    this.fallback.hidden = count !== undefined;
    if (count === undefined) return this.#writeNothing();
    const notation = this.getAttribute('notation') === 'standard' ? 'standard' : 'compact';
    const text = numberFormat(this.#locale, notation).format(count);
    const exact = notation === 'standard' ? text : numberFormat(this.#locale, 'standard').format(count);
    const direction = before !== undefined && count < before ? 'down' : 'up';
    this.number.show(text, this.#isSeen && before !== undefined ? direction : undefined);
    this.dataset['count'] = String(count);
    this.#writeExact(exact, text !== exact);
  }

  protected scheduleWrite(): void {
    scheduleWrite(this.#write);
  }

  protected reflect(name: string, value: string | number | null | undefined): void {
    if (value === null || value === undefined) this.removeAttribute(name);
    else this.setAttribute(name, String(value));
  }

  /** Does something with the post, and says so where it is refused. */
  protected async act(action: (post: Post) => Promise<void>): Promise<boolean> {
    const { post } = this;
    try {
      await action((this.#live ?? pageClient()).post(post));
      return true;
    } catch (error) {
      this.#fail(post, error as LiveCountsError);
      return false;
    }
  }

  protected emit(name: string, detail: object): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  /** Where the number is short, the exact one is its tooltip, and what is read in its place. */
  #writeExact(exact: string, isShort: boolean): void {
    if (exact === this.exactText && isShort === this.#isShort) return;
    const { element } = this.number;
    this.exactText = exact;
    if (isShort) this.titled.title = this.#exact.textContent = exact;
    if (isShort === this.#isShort) return;
    this.#isShort = isShort;
    element.ariaHidden = isShort ? 'true' : null;
    // What is hidden from the eye costs a layer, so it is there only where it is needed.
    if (isShort) return this.shadowRoot!.append(this.#exact);
    this.titled.removeAttribute('title');
    this.#exact.remove();
  }

  #writeNothing(): void {
    this.number.show('');
    this.#writeExact('', false);
    delete this.dataset['count'];
  }

  /** Follows the post if it is to be followed, of the client it is to be followed with. */
  #track(): void {
    this.#stop?.();
    this.#stop = undefined;
    const track = ++this.#tracks;
    const { post } = this;
    if (!this.#isNear || post === '') return;
    const fail = (error: LiveCountsError): void => this.#fail(post, error);
    const live = this.#live ?? pageClient();
    const unfollow = followPageClient(() => this.#track());
    try {
      const unsubscribe = live.post(post).subscribe((change) => this.applyChange(change), fail);
      const unlisten = live.on('error', fail);
      const stop = (): void => {
        unsubscribe();
        unlisten();
        unfollow();
      };
      // A listener of what was told at once may have changed or removed this element.
      if (track === this.#tracks) this.#stop = stop;
      else stop();
    } catch (error) {
      this.#stop = unfollow;
      fail(error as LiveCountsError);
    }
  }

  #fail(post: string, { code, message }: LiveCountsError): void {
    this.emit('live-error', { post, code, message });
  }

  /** What was assigned before the script was there hides the accessors. */
  #takeEarly(): void {
    for (const name of ['live', 'post', 'metric', 'count']) {
      const early = Object.getOwnPropertyDescriptor(this, name);
      if (!early) continue;
      Reflect.deleteProperty(this, name);
      if (name in this) Reflect.set(this, name, early.value);
    }
  }
}
