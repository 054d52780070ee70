/** The functions of react-page.tsx that test/browser/react.test.ts calls. */
export interface ReactPageControls {
  /** Renders in order, each `post:likes`. */
  readonly rendered: readonly string[];
  /** Errors of hydration. */
  readonly mismatches: readonly string[];
  mount(posts: readonly string[]): void;
  /** Puts what a server renders into the page. */
  renderOnServer(posts: readonly string[]): void;
  hydrate(posts: readonly string[]): void;
  show(posts: readonly string[]): void;
  unmount(): void;
  /** Number of posts that have a subscriber. */
  watched(): number;
  /** Number of times that the page was mounted. */
  mounts(): number;
  /** Number of different functions that the hook has returned for a post. */
  functions(post: string): number;
}
