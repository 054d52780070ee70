/** The functions of react-page.tsx that test/browser/react.test.ts calls. */
export interface ReactPageControls {
  /** Renders in order, each `post:likes`. */
  readonly rendered: readonly string[];
  /** Errors of hydration. */
  readonly mismatches: readonly string[];
  mount(posts: readonly string[]): void;
  /** Renders on the server, then hydrates the result. */
  hydrate(posts: readonly string[]): void;
  show(posts: readonly string[]): void;
  unmount(): void;
  /** Number of times that the page was mounted. */
  mounts(): number;
  /** Number of different functions that the hook has returned for a post. */
  functions(post: string): number;
}
