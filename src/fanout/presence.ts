import { type Observable, Subject } from 'rxjs';
import type { Clock, Timer } from '../common/clock.js';

/** Viewers come and go in bursts; their number is told at most this often. A closed tab shows well within a second. */
const LIVE_MS = 250;

interface Viewers {
  countConnections: number;
  /** Connections of actors with a name: how many each has. Connections without one are a user each. */
  readonly named: Map<string, number>;
  namedConnections: number;
}

/** The viewers of each post now: connections, and users, which are counted by actor. */
export class Presence {
  readonly #posts = new Map<string, Viewers>();
  readonly #changed = new Set<string>();
  readonly #changes = new Subject<readonly string[]>();
  #timer: Timer | null = null;

  /** Posts whose viewers changed, at most once in LIVE_MS. */
  readonly changes: Observable<readonly string[]> = this.#changes;

  constructor(private readonly clock: Clock) {}

  /** `actor`: a name, or `null` for a connection that gave none. */
  enter(post: string, actor: string | null): void {
    let viewers = this.#posts.get(post);
    if (viewers === undefined) {
      viewers = { countConnections: 0, named: new Map(), namedConnections: 0 };
      this.#posts.set(post, viewers);
    }
    viewers.countConnections += 1;
    if (actor !== null) {
      viewers.namedConnections += 1;
      viewers.named.set(actor, (viewers.named.get(actor) ?? 0) + 1);
    }
    this.#touch(post);
  }

  leave(post: string, actor: string | null): void {
    const viewers = this.#posts.get(post);
    if (viewers === undefined) return;
    viewers.countConnections -= 1;
    if (actor !== null) {
      viewers.namedConnections -= 1;
      const left = (viewers.named.get(actor) ?? 1) - 1;
      if (left > 0) viewers.named.set(actor, left);
      else viewers.named.delete(actor);
    }
    if (viewers.countConnections === 0) this.#posts.delete(post);
    this.#touch(post);
  }

  /** Connections that watch the post now. */
  connections(post: string): number {
    return this.#posts.get(post)?.countConnections ?? 0;
  }

  /** Viewers on all gateways: the store knows of the others, and this one of its own sooner than the store. */
  countLive({ post, live }: { readonly post: string; readonly live: number }): number {
    return Math.max(this.connections(post), live);
  }

  /** Different actors that watch the post now. */
  countUsers(post: string): number {
    const viewers = this.#posts.get(post);
    return viewers === undefined ? 0 : viewers.countConnections - viewers.namedConnections + viewers.named.size;
  }

  /** Sums over all posts. Cost: one step a watched post. */
  sumTotals(): { connections: number; users: number } {
    const sum = { connections: 0, users: 0 };
    for (const [post, { countConnections: connections }] of this.#posts) {
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
