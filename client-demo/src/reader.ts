import { createLiveCounts, type LiveCounts, type Post } from 'tallycast-client/widgets';
import { gatewayUrl } from './page.js';
import { randomActor } from './random-actor.js';

const OPERATIONS_A_POST = 10;
const LIKE_SHARE = 0.15;
const UNLIKE_SHARE = 0.05;

interface Reading {
  /** A post that the reader views all the time, beside those that it goes to. */
  readonly room?: string;
  readonly pickPost: () => string;
  readonly pauseMs: number;
  /** The reader leaves when this aborts and the last operation is acknowledged. */
  readonly leaving: AbortSignal;
  /** Wraps the client of the reader. */
  readonly watch?: (live: LiveCounts) => LiveCounts;
  readonly acknowledged?: (latencyMs: number) => void;
  /** Without it readers like whenever they want to. */
  readonly mayLike?: () => boolean;
}

/** Acts like a reader, with its own connection and actor. Resolves when the reader has left. */
export async function readPosts({
  room,
  pickPost,
  pauseMs,
  leaving,
  watch,
  acknowledged,
  mayLike,
}: Reading): Promise<void> {
  const own = createLiveCounts(gatewayUrl(), { actor: randomActor() });
  const live = watch?.(own) ?? own;
  const liked = new Set<string>();
  const stays = (): boolean => !leaving.aborted;
  try {
    if (room !== undefined) live.post(room).subscribe(() => undefined);
    while (stays()) {
      const post = live.post(pickPost());
      const leave = post.subscribe(() => undefined);
      for (let i = 0; i < OPERATIONS_A_POST && stays(); i++) {
        const sentAt = performance.now();
        await act(post, liked, mayLike?.() ?? true);
        acknowledged?.(performance.now() - sentAt);
        // Not all readers at the same moment.
        await pause(pauseMs * (0.5 + Math.random()));
      }
      leave();
    }
  } catch {
    // A reader whose operation is rejected leaves.
  }
  live.close();
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function act(post: Post, liked: Set<string>, mayLike: boolean): Promise<void> {
  const dice = mayLike ? Math.random() : 1;
  if (dice < UNLIKE_SHARE && liked.delete(post.id)) return post.unlike();
  if (dice > LIKE_SHARE || liked.has(post.id)) return post.view();
  liked.add(post.id);
  return post.like();
}

/** The square favours the first posts of the list, as readers do. */
export function pickEarly(posts: readonly string[]): string {
  return posts[Math.floor(Math.random() ** 2 * posts.length)]!;
}
