import { type Observable, Subject } from 'rxjs';
import type { Clock, Timer } from '../common/clock.js';

/** Viewers come and go in bursts, so their number is emitted at most this often. A closed tab shows well within a second. */
const LIVE_MS = 250;

interface Viewers {
  connections: number;
  /** The number of connections of each named actor. Anonymous connections count as a user each. */
  readonly named: Map<string, number>;
  namedConnections: number;
}

/** Counts the current viewers of each post: connections, and users, which are different actors. */
export class Presence {
  readonly #posts = new Map<string, Viewers>();
  readonly #changed = new Set<string>();
  readonly #changes = new Subject<readonly string[]>();
  #timer: Timer | null = null;

  /** Emits posts whose viewers changed, at most once in LIVE_MS. */
  readonly changes: Observable<readonly string[]> = this.#changes;

  constructor(private readonly clock: Clock) {}

  /** @param actor a text that identifies it; `null`: anonymous */
  enter(post: string, actor: string | null): void {
    let viewers = this.#posts.get(post);
    if (viewers === undefined) {
      viewers = { connections: 0, named: new Map(), namedConnections: 0 };
      this.#posts.set(post, viewers);
    }
    viewers.connections += 1;
    if (actor !== null) {
      viewers.namedConnections += 1;
      viewers.named.set(actor, (viewers.named.get(actor) ?? 0) + 1);
    }
    this.#touch(post);
  }

  leave(post: string, actor: string | null): void {
    const viewers = this.#posts.get(post);
    if (viewers === undefined) return;
    viewers.connections -= 1;
    if (actor !== null) {
      viewers.namedConnections -= 1;
      const left = (viewers.named.get(actor) ?? 1) - 1;
      if (left > 0) viewers.named.set(actor, left);
      else viewers.named.delete(actor);
    }
    if (viewers.connections === 0) this.#posts.delete(post);
    this.#touch(post);
  }

  /** Counts the connections that watch the post. */
  countConnections(post: string): number {
    return this.#posts.get(post)?.connections ?? 0;
  }

  /** Counts viewers on all gateways. The store reports those of other gateways, and has those of this one later than it. */
  countLive({ post, live }: { readonly post: string; readonly live: number }): number {
    return Math.max(this.countConnections(post), live);
  }

  /** Counts the different actors that watch the post. */
  countUsers(post: string): number {
    const viewers = this.#posts.get(post);
    return viewers === undefined ? 0 : viewers.connections - viewers.namedConnections + viewers.named.size;
  }

  /** Sums over all posts. Cost: one step a watched post. */
  sumTotals(): { connections: number; users: number } {
    const sum = { connections: 0, users: 0 };
    for (const [post, { connections }] of this.#posts) {
      sum.connections += connections;
      sum.users += this.countUsers(post);
    }
    return sum;
  }

  #touch(post: string): void {
    this.#changed.add(post);
    this.#timer ??= this.clock.after(LIVE_MS, () => {
      this.#timer = null;
      const posts = [...this.#changed];
      this.#changed.clear();
      this.#changes.next(posts);
    });
  }
}
