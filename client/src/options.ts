import type { Environment, StorageMode } from './environment.js';
import type { LiveCountsError } from './errors.js';
import type { Milestone } from './milestones.js';

export interface Options {
  /**
   * The acting user, 1 to 128 characters. Without it and without a token: a random one, which is stored when it first turns something on
   * or off. `null`: the client gives no name, and the gateway decides who it is.
   */
  readonly actor?: string | null;
  /**
   * Proves who acts to a gateway that requires it. A function is called for every connection, also after a token has
   * expired. Its argument is `true` if the gateway rejected the last token: then a new one is needed.
   */
  readonly token?: string | ((refused: boolean) => string | undefined | Promise<string | undefined>);
  /** Where the client keeps things; `local` by default. With `none` it stores nothing. */
  readonly storage?: StorageMode | undefined;
  /** Replacements for parts of the browser: a `WebSocket` for Node.js before 22, for example. */
  readonly environment?: Partial<Environment>;
}

export interface LiveCountsEvents {
  /** Not connected, or some subscribed post is not current. Operations are accepted even so, and sent later. */
  syncing: () => void;
  /** Connected, and every subscribed post is current. */
  synced: () => void;
  /**
   * The gateway rejected the connection, or the token callback failed. The client keeps trying. While the address has too
   * many connections this is emitted once, with `RATE_LIMITED` and `retryAfterMs`.
   */
  error: (error: LiveCountsError) => void;
  /**
   * A milestone was reached: of a post that this client subscribes to, or by an operation of this client. Each is reported once.
   * Best effort: where it matters, compare the counts, and read `Post.milestones`.
   */
  milestone: (milestone: Milestone) => void;
}
