import { reflect } from './live-element.js';
import { NumberElement } from './number-element.js';

/**
 * `<live-count post="42" metric="views">`: a count of a post, `likes` by default. With `count` it adds one to the tally
 * when it first comes into view.
 */
export class LiveCount extends NumberElement {
  #countedPost = '';

  get metric(): string {
    return this.getAttribute('metric') ?? 'likes';
  }

  set metric(metric: string | null | undefined) {
    reflect(this, 'metric', metric);
  }

  override get count(): number | undefined {
    return super.count;
  }

  /** Sets the attribute `count`, not the number. */
  override set count(count: boolean | number | string | null | undefined) {
    reflect(this, 'count', count === false || count === undefined || count === null ? null : '');
  }

  protected override seen(): void {
    const { post } = this;
    if (post === '' || post === this.#countedPost || !this.hasAttribute('count')) return;
    this.#countedPost = post;
    void this.act((handle) => handle.add(this.metric));
  }
}
