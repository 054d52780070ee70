import type { LiveCounts, Post } from '../client.js';
import type { LiveCountsError } from '../errors.js';
import type { Change } from '../post-counts.js';
import { scheduleWrite, cancelWrite } from './render-budget.js';
import { findLocale, numberFormat } from './numbers.js';
import { followPageClient, pageClient } from './page-client.js';
import { RollingNumber } from './rolling-number.js';
import { styleSheet } from './styles.js';
import { unobserveVisibility, observeVisibility } from './visibility.js';

/** `live-count-change`: a widget has its first number or a new one. */
export interface LiveCountChange {
  readonly post: string;
  readonly metric: string;
  readonly count: number;
  /** Difference from the previous number; 0 the first time. */
  readonly delta: number;
  readonly source: Change['source'];
}

/** `live-error`: the gateway rejected a subscription, an operation or the connection. */
export interface LiveFailure {
  readonly post: string;
  readonly code: LiveCountsError['code'];
  readonly message: string;
  /** When the gateway can be expected to accept the same again; undefined if that is unknown. */
  readonly retryAfterMs: number | undefined;
}

/** A server has no elements: there the classes are only named. */
const Base = typeof HTMLElement === 'undefined' ? (Object as unknown as typeof HTMLElement) : HTMLElement;

/**
 * A number of a post. It is subscribed while the element is near the viewport, and written in the language of the text
 * around it. The first number replaces the content of the element.
 */
export abstract class LiveElement extends Base {
  static readonly observedAttributes: readonly string[] = ['post', 'metric', 'notation', 'lang'];

  protected readonly number = new RollingNumber();
  /** Has the exact number as its tooltip if a short one is shown. */
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
    this.#restoreEarlyProperties();
  }

  abstract get metric(): string;

  get post(): string {
    return this.getAttribute('post') ?? '';
  }

  /** Sets the attribute; `null` and undefined remove it. Frameworks set properties where they exist. */
  set post(post: string | number | null | undefined) {
    this.reflect('post', post);
  }

  /** The newest number; undefined until it arrives. The attribute `data-count` follows in the next animation frame. */
  get count(): number | undefined {
    return this.#count;
  }

  /** The client of this element; without it the page's client is used. */
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

  /** `moveBefore` moved the element: the subscription continues. */
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
      // Deferred, so that other attributes of the same change are set first.
      queueMicrotask(() => this.#isSeen && this.seen());
    } else if (name === 'lang') {
      this.#locale = findLocale(this);
    }
    if (this.isConnected) scheduleWrite(this.#write);
  }

  /** Called when the element comes into view. */
  protected seen(): void {
    // Subclasses override this.
  }

  /** Clears the number, which was that of another post. */
  protected resetCount(): void {
    this.#count = undefined;
  }

  /** Takes a change of the post from the client. */
  protected applyChange({ counts, source }: Change): void {
    const count = counts[this.metric] ?? 0;
    const before = this.#count;
    if (count === before) return;
    this.#count = count;
    scheduleWrite(this.#write);
    const { post, metric } = this;
    this.emit('live-count-change', { post, metric, count, delta: count - (before ?? count), source });
  }

  /** Updates the DOM; called in an animation frame. */
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

  /** Performs an operation on the post, and emits `live-error` if it fails. */
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

  /** If the number is short, makes the exact one its tooltip and the text for screen readers. */
  #writeExact(exact: string, isShort: boolean): void {
    if (exact === this.exactText && isShort === this.#isShort) return;
    const { element } = this.number;
    this.exactText = exact;
    if (isShort) this.titled.title = this.#exact.textContent = exact;
    if (isShort === this.#isShort) return;
    this.#isShort = isShort;
    element.ariaHidden = isShort ? 'true' : null;
    // Visually hidden text costs a layer, so it exists only with a short number.
    if (isShort) return this.shadowRoot!.append(this.#exact);
    this.titled.removeAttribute('title');
    this.#exact.remove();
  }

  #writeNothing(): void {
    this.number.show('');
    this.#writeExact('', false);
    delete this.dataset['count'];
  }

  /** Subscribes to the post with the right client while the element is near the viewport. */
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
      // A listener of the change that was emitted at once may have changed or removed this element.
      if (track === this.#tracks) this.#stop = stop;
      else stop();
    } catch (error) {
      this.#stop = unfollow;
      fail(error as LiveCountsError);
    }
  }

  #fail(post: string, { code, message, retryAfterMs }: LiveCountsError): void {
    this.emit('live-error', { post, code, message, retryAfterMs });
  }

  /** Properties that were assigned before the script ran hide the accessors: sets them again. */
  #restoreEarlyProperties(): void {
    for (const name of ['live', 'post', 'metric', 'count']) {
      const early = Object.getOwnPropertyDescriptor(this, name);
      if (!early) continue;
      Reflect.deleteProperty(this, name);
      if (name in this) Reflect.set(this, name, early.value);
    }
  }
}
