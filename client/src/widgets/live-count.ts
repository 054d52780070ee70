import { reflect } from './live-element.js';
import { countOnce, observeView } from '../page-view.js';
import { NumberElement } from './number-element.js';

/**
 * `<live-count post="42" metric="views">`: a count of a post, `likes` by default. With `count` it counts
 * that the visitor has seen it, or with `hidden` the page.
 */
export class LiveCount extends NumberElement {
  #stopCounting: (() => void) | undefined;

  override get count(): number | undefined {
    return super.count;
  }

  /** Sets the attribute `count`, not the number. */
  override set count(count: boolean | number | string | null | undefined) {
    reflect(this, 'count', count === false || count === undefined || count === null ? null : '');
  }

  protected override updateViewing(): void {
    this.#stopCounting?.();
    this.#stopCounting = undefined;
    const { hidden, post } = this;
    if (!this.hasAttribute('count') || post === '' || !(hidden ? this.isConnected : this.isSeen)) return;
    const count = (): void => void this.act((handle) => countOnce(this.client, handle, this.metric));
    this.#stopCounting = observeView(count, hidden ? undefined : this);
  }
}
