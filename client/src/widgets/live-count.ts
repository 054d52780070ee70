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

  protected override seen(): void {
    const { post } = this;
    if (post === '' || post === this.#countedPost || !this.hasAttribute('count')) return;
    this.#countedPost = post;
    void this.act((handle) => handle.add(this.metric));
  }
}
