import { createLiveCounts, type LiveCounts } from '../../client/src/live-counts.js';

const OPERATION_EVERY_MS = 100;
const OPERATIONS_A_POST = 12;
const POSTS_A_VISIT = 6;
const LIKE_SHARE = 0.15;
const UNLIKE_SHARE = 0.05;
/** A visitor whose answers are this far behind waits for them instead of piling up more. */
const UNANSWERED_MAX = 5;

/**
 * One simulated reader on a connection and with an actor of its own: reads a few posts for about a second each, where
 * it is a viewer and views, likes and unlikes ten times a second, a fifth of what the gateway allows a connection.
 */
export class Visitor {
  private readonly live: LiveCounts;
  private readonly timer: ReturnType<typeof setInterval>;
  private readonly liked = new Set<string>();
  private post: string;
  private leave: () => void;
  private operations = 0;
  private unanswered = 0;

  constructor(
    url: string,
    private readonly posts: readonly string[],
    private readonly acknowledged: (latencyMs: number) => void,
    private readonly visited: () => void,
  ) {
    this.live = createLiveCounts(url, { actor: `visitor-${Math.random().toString(36).slice(2)}` });
    this.post = this.anyPost();
    this.leave = this.enter(this.post);
    this.timer = setInterval(() => this.act(), OPERATION_EVERY_MS);
  }

  close(): void {
    clearInterval(this.timer);
    this.live.close();
  }

  private act(): void {
    if (this.unanswered >= UNANSWERED_MAX) return;
    if (this.operations === OPERATIONS_A_POST * POSTS_A_VISIT) return this.visited();
    if (++this.operations % OPERATIONS_A_POST === 0) this.move();
    const sentAt = performance.now();
    this.unanswered++;
    this.operate()
      .then(() => this.acknowledged(performance.now() - sentAt))
      // Closed or refused: neither is an acknowledgement, and a reader of a simulation can do without it.
      .catch(() => undefined)
      .finally(() => this.unanswered--);
  }

  private operate(): Promise<unknown> {
    const post = this.live.post(this.post);
    const dice = Math.random();
    if (!this.liked.has(this.post) && dice < LIKE_SHARE) {
      this.liked.add(this.post);
      return post.like();
    }
    if (dice < UNLIKE_SHARE && this.liked.delete(this.post)) return post.unlike();
    return post.view();
  }

  private move(): void {
    const left = this.leave;
    this.post = this.anyPost();
    this.leave = this.enter(this.post);
    left();
  }

  private enter(post: string): () => void {
    return this.live.post(post).subscribe(() => undefined);
  }

  /** The square favours the head of the list, as readers do. */
  private anyPost(): string {
    return this.posts[Math.floor(Math.random() ** 2 * this.posts.length)]!;
  }
}
