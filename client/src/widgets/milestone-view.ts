import type { LiveCounts } from '../api.js';
import { LiveCountsError } from '../errors.js';
import { postId } from '../post-id.js';
import { warnOnce } from '../warn.js';
import { announce } from './announce.js';
import { celebrate } from './confetti.js';
import { milestoneStyleSheet } from './milestone-styles.js';
import { type MilestoneState, MilestoneWatch } from './milestone-watch.js';
import { findLocale, numberFormat, pluralForm } from './numbers.js';
import { cancelWrite, scheduleWrite } from './render-budget.js';
import { RollingNumber } from './rolling-number.js';
import { NEAR, observeVisibility, SEEN, unobserveVisibility } from './visibility.js';

/** Those that name the milestone, and those that change how it looks. */
const NAMES = ['post', 'metric', 'at'];
const LOOKS = ['lang', 'zero', 'one', 'two', 'few', 'many', 'other'];
const TO_GO = 'to go';

/** The content of a `<live-milestone>`, and its events. */
export class MilestoneView {
  readonly #number = new RollingNumber();
  readonly #unit = makeSpan('unit');
  readonly #counting = makeSpan('counting', this.#number.element, this.#unit);
  readonly #reached = makeSlot('reached');
  readonly #won = makeSlot('won');
  readonly #message = makeSpan('message', this.#reached, this.#won);
  readonly #time = document.createElement('time');
  readonly #status = document.createElement('span');
  readonly #fallback = document.createElement('slot');
  readonly #root: ShadowRoot;
  readonly #write = (): void => this.#writeNow();
  readonly #changes = new MutationObserver((records) => {
    if (records.some(({ attributeName }) => NAMES.includes(attributeName!))) this.#forget();
    scheduleWrite(this.#write);
  });
  #unfollow: (() => void) | undefined;
  #live: LiveCounts | undefined;
  #watch: MilestoneWatch | undefined;
  #state: MilestoneState | undefined;
  #visibility = 0;
  #isRunning = false;
  #isWatching = false;
  #left: number | undefined;
  /** The last event, as JSON. */
  #reported = '';
  #hasCelebrated = false;

  constructor(
    private readonly element: HTMLElement,
    private readonly pageClient: () => LiveCounts,
    private readonly followPageClient: (moved: () => void) => () => void,
  ) {
    this.#root = element.attachShadow({ mode: 'open' });
    this.#root.adoptedStyleSheets = [milestoneStyleSheet()];
    this.#number.element.setAttribute('part', 'number');
    this.#time.setAttribute('part', 'time');
    this.#status.role = 'status';
    this.#root.append(this.#counting, this.#message, ' ', this.#time, this.#fallback, this.#status);
    this.#defineLive();
    this.#writeNow();
  }

  /** The element was connected, moved or removed. */
  update(): void {
    const { isConnected } = this.element;
    if (isConnected === this.#isRunning) return;
    this.#isRunning = isConnected;
    if (isConnected) {
      this.#changes.observe(this.element, { attributeFilter: [...NAMES, ...LOOKS] });
      this.#unfollow = this.followPageClient(() => this.#track(true));
      observeVisibility(this.element, (visibility) => this.#see(visibility));
    } else {
      this.#changes.disconnect();
      this.#unfollow?.();
      unobserveVisibility(this.element);
      cancelWrite(this.#write);
      this.#see(0);
    }
  }

  get #post(): string {
    const post = this.element.getAttribute('post') ?? '';
    return post === 'auto' ? postId() : post;
  }

  get #metric(): string {
    return this.element.getAttribute('metric') ?? 'likes';
  }

  get #n(): number {
    return Number(this.element.getAttribute('at') ?? NaN);
  }

  /** The property `live`: the client of this element, instead of the page's. */
  #defineLive(): void {
    const { element } = this;
    this.#live = (element as { live?: LiveCounts }).live;
    Object.defineProperty(element, 'live', {
      get: () => this.#live,
      set: (live: LiveCounts | undefined) => {
        if (live === this.#live) return;
        this.#live = live;
        this.#track(true);
      },
      configurable: true,
    });
  }

  #see(visibility: number): void {
    this.#visibility = visibility;
    this.#track();
    this.#celebrateIfSeen();
  }

  #forget(): void {
    this.#watch?.stop();
    this.#watch = this.#state = this.#left = undefined;
    this.#reported = '';
    this.#hasCelebrated = false;
    this.#track(true);
  }

  /** Watches the post while the element is near the viewport. */
  #track(restarts = false): void {
    const isNear = this.#visibility >= NEAR && this.#post !== '';
    if (isNear === this.#isWatching && !restarts) return;
    this.#isWatching = isNear;
    if (!isNear) return this.#watch?.stop();
    const n = this.#n;
    if (!Number.isSafeInteger(n) || n < 1) {
      const text = `at="${this.element.getAttribute('at') ?? ''}" of a live-milestone must be a whole number from 1 to 2^53 - 1`;
      return this.#fail(new LiveCountsError('BAD_REQUEST', text));
    }
    this.#watch ??= new MilestoneWatch(
      { metric: this.#metric, n },
      {
        changed: (state) => this.#change(state),
        failed: (error) => this.#fail(error),
        notArmed: (count) => this.#warnNotArmed(count),
      },
    );
    try {
      this.#watch.start(this.#live ?? this.pageClient(), this.#post);
    } catch (error) {
      this.#fail(error as LiveCountsError);
    }
  }

  #change(state: MilestoneState): void {
    this.#state = state;
    scheduleWrite(this.#write);
    const { at, mine, final } = state;
    if (at === undefined) return;
    const detail = { post: this.#post, metric: this.#metric, n: this.#n, at, mine, final };
    const reported = JSON.stringify(detail);
    if (reported === this.#reported) return;
    this.#reported = reported;
    this.#emit('tallycast-milestone', detail);
    this.#celebrateIfSeen();
  }

  /** Once, when a reader sees it. */
  #celebrateIfSeen(): void {
    if (this.#hasCelebrated || !this.#state?.isNews || this.#visibility < SEEN) return;
    this.#hasCelebrated = true;
    // The text is written in the frame before.
    scheduleWrite(() => celebrate(this.#root, this.element));
    announce(this.#status, () => this.#message.innerText);
  }

  #writeNow(): void {
    const { element } = this;
    const locale = findLocale(element);
    const { count, at, mine = false, missed = false } = this.#state ?? {};
    const n = this.#n;
    const left = count === undefined ? undefined : Math.max(0, n - count);
    const isCounting = at === undefined && left !== undefined;
    this.#fallback.hidden = isCounting || at !== undefined;
    this.#counting.hidden = !isCounting;
    this.#message.hidden = this.#time.hidden = at === undefined;
    this.#reached.hidden = mine;
    this.#won.hidden = !mine;
    if (isCounting) this.#writeLeft(locale, left);
    else delete element.dataset['left'];
    if (at !== undefined) {
      const number = numberFormat(locale, 'standard').format(n);
      this.#won.textContent = `You were number ${number}!`;
      this.#reached.textContent = missed ? `Number ${number} was passed` : `Somebody was number ${number}`;
      this.#time.dateTime = at;
      this.#time.textContent = formatTime(locale, at);
    }
    const state = at === undefined ? (isCounting ? 'counting' : undefined) : mine ? 'won' : 'reached';
    if (state === undefined) delete element.dataset['state'];
    else element.dataset['state'] = state;
  }

  #writeLeft(locale: string, left: number): void {
    const before = this.#left;
    this.#left = left;
    const direction = before !== undefined && left > before ? 'up' : 'down';
    const rolls = before !== undefined && this.#visibility >= SEEN;
    this.#number.show(numberFormat(locale, 'standard').format(left), rolls ? direction : undefined);
    const { element } = this;
    const unit = element.getAttribute(pluralForm(locale, left)) ?? element.getAttribute('other') ?? TO_GO;
    this.#unit.textContent = `\xa0${unit}`;
    element.dataset['left'] = String(left);
  }

  #warnNotArmed(count: number | undefined): void {
    const [post, metric, at] = [this.#post, this.#metric, this.#n];
    if (count === undefined)
      return this.#fail(new LiveCountsError('BAD_REQUEST', `the gateway has no metric "${metric}"`));
    const remedy =
      count < at
        ? `arm it with PUT /admin/milestones ${JSON.stringify({ post, metric, at })}`
        : `${count} is counted already, and only a number above that can be armed`;
    warnOnce('not armed', `no milestone at ${at} of "${metric}" is armed for the post "${post}": ${remedy}`);
  }

  #fail({ code, message, retryAfterMs }: LiveCountsError): void {
    if (this.#emit('live-error', { post: this.#post, code, message, retryAfterMs })) warnOnce(message, message);
  }

  #emit(name: string, detail: object): boolean {
    return this.element.dispatchEvent(
      new CustomEvent(name, { detail, bubbles: true, cancelable: true, composed: true }),
    );
  }
}

function makeSpan(part: string, ...content: readonly Node[]): HTMLElement {
  const span = document.createElement('span');
  span.setAttribute('part', part);
  span.append(...content);
  return span;
}

function makeSlot(name: string): HTMLSlotElement {
  const slot = document.createElement('slot');
  slot.name = name;
  return slot;
}

function formatTime(locale: string, at: string): string {
  const options = { dateStyle: 'medium', timeStyle: 'short' } as const;
  try {
    return new Intl.DateTimeFormat(locale, options).format(new Date(at));
  } catch {
    // The `lang` attribute may hold anything.
    return new Intl.DateTimeFormat(undefined, options).format(new Date(at));
  }
}
