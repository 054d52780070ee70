/** What test/browser/react.test.ts does with react-page.tsx. */
export interface ReactPageControls {
  /** What was rendered, in order: `post:likes`. */
  readonly rendered: readonly string[];
  /** What hydration complained about. */
  readonly mismatches: readonly string[];
  mount(posts: readonly string[]): void;
  /** Takes over what a server rendered. */
  hydrate(posts: readonly string[]): void;
  show(posts: readonly string[]): void;
  unmount(): void;
  /** How often all was mounted. */
  mounts(): number;
  /** How many functions the hook has given for a post. */
  functions(post: string): number;
}
