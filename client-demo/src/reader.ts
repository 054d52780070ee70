import { createLiveCounts, type Post } from 'tallycast-client/widgets';
import { randomActor } from './random-actor.js';

const READING_MS = 8_000;
/** With an answer in some milliseconds about seven operations a second: 60 readers stay below an address's 500. */
const PAUSE_MS = 130;
const OPERATIONS_A_POST = 10;
const LIKE_SHARE = 0.15;
const UNLIKE_SHARE = 0.05;

/**
 * Reads, likes and views as a reader of these posts might, over a connection and as an actor of its own. Resolves when the
 * reader has left, which takes 8 s at most, whether or not the gateway answers.
 */
export async function readSome(posts: readonly string[], acknowledged: (latencyMs: number) => void): Promise<void> {
  const live = createLiveCounts(location.origin, { actor: randomActor() });
  const liked = new Set<string>();
  const leaving = setTimeout(() => live.close(), READING_MS);
  try {
    // Closed, the client refuses the next operation.
    for (;;) {
      const post = live.post(anyOf(posts));
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

/** The square favours the head of the list, as readers do. */
function anyOf(posts: readonly string[]): string {
  return posts[Math.floor(Math.random() ** 2 * posts.length)]!;
}
