import type { LiveCounts, Post } from '../api.js';
import { LiveCountsError } from '../errors.js';
import type { Change, Counts } from '../post-counts.js';
import { postId } from '../post-id.js';
import { warnOnce } from '../warn.js';
import { followState } from './client-state.js';
import { scheduleWrite, cancelWrite } from './render-budget.js';
import { findLocale } from './numbers.js';
import { followPageClient, pageClient } from './page-client.js';
import { styleSheet } from './styles.js';
import { FAR, NEAR, observeVisibility, unobserveVisibility } from './visibility.js';

/** `live-error`: the gateway rejected a subscription, an operation or the connection. */
export interface LiveFailure {
  readonly post: string;
  readonly code: LiveCountsError['code'];
  readonly message: string;
  /** When the gateway can be expected to accept the same again; undefined if that is unknown. */
  readonly retryAfterMs: number | undefined;
}

/** A server has no elements: there the classes are only named. */
export const Base = typeof HTMLElement === 'undefined' ? (Object as unknown as typeof HTMLElement) : HTMLElement;

/** Shows something of a post. The post is subscribed while the element is near the viewport. */
export abstract class LiveElement extends Base {
  /** Those of all widgets. One that a widget does not have costs it a write at most. */
  static readonly observedAttributes =
    'post metric group label notation lang count hidden zero one two few many other'.split(' ');

  /** The content of the element, for as long as there is nothing else to show. */
  protected readonly fallback = document.createElement('slot');
  /** This user's toggles that are on: as pressed until the client has them, then as the client has them. */
  protected on: readonly string[] = [];
  protected locale = '';
  protected visibility = FAR;
  /** Whether the element makes the user a viewer of the post. */
  protected readonly present: boolean = false;
  readonly #write = (): void => this.write();
  #live: LiveCounts | undefined;
  #isNear = false;
  #stop: (() => void) | undefined;
  #tracks = 0;
  /** The toggles in the client's last change. */
  #received: readonly string[] = [];
  #turns = 0;
  #counts: Counts | undefined;
  #isUnknown = false;
  #pageId: string | undefined;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open', delegatesFocus: true });
    root.adoptedStyleSheets = [styleSheet()];
    root.append(this.fallback);
    this.#restoreEarlyProperties();
  }

  /** With `auto` the address that the page had when the element was connected: a page that navigates replaces its elements. */
  get post(): string {
    const post = this.getAttribute('post') ?? '';
    return post === 'auto' ? (this.#pageId ??= postId()) : post;
  }

  /** Sets the attribute; `null` and undefined remove it. Frameworks set properties where they exist. */
  set post(post: string | number | null | undefined) {
    reflect(this, 'post', post);
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
    if (this.#pageId) this.forget();
    this.#pageId = undefined;
    this.locale = findLocale(this);
    scheduleWrite(this.#write);
    this.#setVisibility(FAR);
    observeVisibility(this, (visibility) => this.#setVisibility(visibility));
  }

  /** `moveBefore` moved the element: the subscription continues. */
  connectedMoveCallback(): void {
    this.locale = findLocale(this);
    scheduleWrite(this.#write);
  }

  disconnectedCallback(): void {
    unobserveVisibility(this);
    this.#setVisibility(FAR);
    cancelWrite(this.#write);
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after) return;
    if (name === 'post' || name === 'metric') {
      this.forget();
      this.#track();
    } else if (name === 'lang') {
      this.locale = findLocale(this);
    }
    this.updateViewing();
    if (this.isConnected) scheduleWrite(this.#write);
  }

  /** Called when the visibility or an attribute of the element may have changed. */
  protected updateViewing(): void {
    // Subclasses override this.
  }

  /** Forgets the state of another post. */
  protected forget(): void {
    this.#turns++;
    this.#counts = undefined;
    this.#isUnknown = false;
    this.#showToggles((this.#received = []));
  }

  /** Takes a change of the post from the client. */
  protected applyChange({ counts, mine }: Change): void {
    this.#counts = counts;
    this.#showToggles((this.#received = mine));
  }

  /** Updates the DOM; called in an animation frame. */
  protected abstract write(): void;

  /** The client of this element, or else that of the page. */
  protected get client(): LiveCounts {
    return this.#live ?? pageClient();
  }

  protected scheduleWrite(): void {
    scheduleWrite(this.#write);
  }

  /** Performs an operation on a metric of the post, and emits `live-error` if it fails. */
  protected async act(metric: string, action: (post: Post) => Promise<void>): Promise<boolean> {
    if (!this.checkMetric(metric)) return false;
    const { post } = this;
    try {
      await action(this.client.post(post));
      return true;
    } catch (error) {
      this.#fail(post, error as LiveCountsError);
      return false;
    }
  }

  /** Shows a toggle as pressed and performs the operation. If that fails it goes back, unless the user has pressed again since. */
  protected async turn(toggle: string, on: boolean, action: (post: Post) => Promise<void>): Promise<void> {
    const turn = ++this.#turns;
    this.#showToggles(on ? [toggle] : []);
    if (!(await this.act(toggle, action)) && turn === this.#turns) this.#showToggles(this.#received);
  }

  /** @returns false if the gateway is known not to count the metric; then there is one error */
  protected checkMetric(metric: string): boolean {
    const counts = this.#counts;
    if (!counts || Object.hasOwn(counts, metric)) return true;
    const message = `the gateway has no metric "${metric}"; it has ${Object.keys(counts).sort().join(', ')}`;
    if (!this.#isUnknown) this.#fail(this.post, new LiveCountsError('BAD_REQUEST', message));
    this.#isUnknown = true;
    return false;
  }

  /** @returns false if a listener has called `preventDefault` */
  protected emit(name: string, detail: object): boolean {
    return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, cancelable: true, composed: true }));
  }

  #showToggles(on: readonly string[]): void {
    if (on.join() === this.on.join()) return;
    this.on = on;
    this.scheduleWrite();
  }

  #setVisibility(visibility: number): void {
    this.visibility = visibility;
    const isNear = visibility >= NEAR || (this.present && this.isConnected);
    if (isNear !== this.#isNear) {
      this.#isNear = isNear;
      this.#track();
    }
    this.updateViewing();
  }

  /** Subscribes to the post with the right client while the element is near the viewport. */
  #track(): void {
    this.#stop?.();
    this.#stop = undefined;
    const track = ++this.#tracks;
    const { post } = this;
    if (!this.#isNear || post === '') return;
    const fail = (error: LiveCountsError): void => this.#fail(post, error);
    const live = this.client;
    const unfollow = followPageClient(() => this.#track());
    try {
      const unsubscribe = live
        .post(post)
        .subscribe((change) => this.applyChange(change), fail, { present: this.present });
      // The client itself warns of the second one in a row: the first time the token may only have expired.
      const unlisten = live.on('error', (error) => this.#fail(post, error, error.code !== 'UNAUTHORIZED'));
      const unfollowState = followState(live, this);
      const stop = (): void => {
        unfollowState();
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

  #fail(post: string, { code, message, retryAfterMs }: LiveCountsError, warns = true): void {
    if (this.emit('live-error', { post, code, message, retryAfterMs }) && warns)
      warnOnce(code === 'BAD_REQUEST' ? message.replace(post, '') : code, message);
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

/** Sets an attribute; `null` and undefined remove it. */
export function reflect(element: Element, name: string, value: string | number | null | undefined): void {
  if (value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, String(value));
}
