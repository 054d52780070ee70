import { reflect } from './live-element.js';
import { countOnce, timeView } from '../page-view.js';
import { NumberElement } from './number-element.js';
import { HALF_SEEN } from './visibility.js';

/**
 * `<live-count post="42" metric="views">`: a count of a post, `likes` by default. With `count` it counts
 * that the visitor has seen it, or with `hidden` the page.
 */
export class LiveCount extends NumberElement {
  readonly #view = timeView(() => void this.act(this.metric, (post) => countOnce(this.client, post, this.metric)));

  override get count(): number | undefined {
    return super.count;
  }

  /** Sets the attribute `count`, not the number. */
  override set count(count: boolean | number | string | null | undefined) {
    reflect(this, 'count', count === false || count === undefined || count === null ? null : '');
  }

  protected override forget(): void {
    super.forget();
    this.#view(false);
  }

  protected override updateViewing(): void {
    const isVisible = this.hidden ? this.isConnected : this.visibility === HALF_SEEN;
    this.#view(isVisible && this.hasAttribute('count') && this.post !== '');
  }
}
