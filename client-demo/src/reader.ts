import { createLiveCounts, type Post } from 'tallycast-client/widgets';
import { gatewayUrl } from './page.js';
import { randomActor } from './random-actor.js';

const READING_MS = 8_000;
/** About seven operations a second: 60 readers stay below the default limit of an address, 500. */
const PAUSE_MS = 130;
const OPERATIONS_A_POST = 10;
const LIKE_SHARE = 0.15;
const UNLIKE_SHARE = 0.05;

/**
 * Acts like a reader of these posts, with its own connection and actor. Resolves when the reader has left: after at most
 * 8 s, even if the gateway does not answer.
 */
export async function readPosts(posts: readonly string[], acknowledged: (latencyMs: number) => void): Promise<void> {
  const live = createLiveCounts(gatewayUrl(), { actor: randomActor() });
  const liked = new Set<string>();
  const leaving = setTimeout(() => live.close(), READING_MS);
  try {
    // Ends with an exception, because a closed client rejects the next operation.
    for (;;) {
      const post = live.post(pickPost(posts));
      const leave = post.subscribe(() => undefined);
      for (let i = 0; i < OPERATIONS_A_POST; i++) {
        const sentAt = performance.now();
        await act(post, liked);
        acknowledged(performance.now() - sentAt);
        await pause(PAUSE_MS);
      }
      leave();
    }
  } catch {
    clearTimeout(leaving);
    live.close();
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function act(post: Post, liked: Set<string>): Promise<void> {
  const dice = Math.random();
  if (dice < UNLIKE_SHARE && liked.delete(post.id)) return post.unlike();
  if (dice > LIKE_SHARE || liked.has(post.id)) return post.view();
  liked.add(post.id);
  return post.like();
}

/** The square favours the first posts of the list, as readers do. */
function pickPost(posts: readonly string[]): string {
  return posts[Math.floor(Math.random() ** 2 * posts.length)]!;
}
