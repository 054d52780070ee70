import { LiveElement } from './live-element.js';

/**
 * `<live-count post="42" metric="views">`: any count of a post, `likes` unless another metric is named. With `count` it adds
 * one to it, a tally, when it first comes into view.
 */
export class LiveCount extends LiveElement {
  #countedPost = '';

  get metric(): string {
    return this.getAttribute('metric') ?? 'likes';
  }

  set metric(metric: string | null | undefined) {
    this.reflect('metric', metric);
  }

  override get count(): number | undefined {
    return super.count;
  }

  /** The attribute of this name, not the number. */
  override set count(count: boolean | number | string | null | undefined) {
    this.reflect('count', count === false || count === undefined || count === null ? null : '');
  }

  protected override seen(): void {
    const { post } = this;
    if (post === '' || post === this.#countedPost || !this.hasAttribute('count')) return;
    this.#countedPost = post;
    void this.act((handle) => handle.add(this.metric));
  }
}
