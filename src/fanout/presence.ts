import { type Observable, Subject } from 'rxjs';
import type { Clock, Timer } from '../common/clock.js';
import type { ViewersChange } from '../store/counter-store.js';
import { PostPresence } from './post-presence.js';

/** Viewers come and go in bursts, so their number is emitted at most this often. A closed tab shows well within a second. */
const LIVE_MS = 250;

/** Counts the current viewers of each post. */
export class Presence {
  readonly #posts = new Map<string, PostPresence>();
  readonly #changed = new Set<string>();
  readonly #changes = new Subject<ReadonlyMap<string, ViewersChange>>();
  #timer: Timer | null = null;

  /** Emits posts whose viewers changed, at most once in LIVE_MS. */
  readonly changes: Observable<ReadonlyMap<string, ViewersChange>> = this.#changes;

  /** @param countsPeople whether `live` counts each person once, or each connection */
  constructor(
    private readonly clock: Clock,
    private readonly countsPeople: boolean,
  ) {}

  /**
   * @param person the actor's key as a text; `null`: none
   * @param isPresent whether the connection counts in `live`
   */
  enter(post: string, person: string | null, isPresent: boolean): void {
    let viewers = this.#posts.get(post);
    if (viewers === undefined) this.#posts.set(post, (viewers = new PostPresence(this.countsPeople)));
    viewers.enter(person, isPresent);
    this.#touch(post);
  }

  /** Undoes an `enter` with the same arguments. */
  leave(post: string, person: string | null, isPresent: boolean): void {
    this.#posts.get(post)?.leave(person, isPresent);
    this.#touch(post);
  }

  /** Counts the viewers at this gateway that count in `live`. */
  countViewers(post: string): number {
    return this.#posts.get(post)?.live ?? 0;
  }

  /** Counts viewers on all gateways. The store reports those of other gateways, and has those of this one later than it. */
  countLive({ post, live }: { readonly post: string; readonly live: number }): number {
    return Math.max(this.countViewers(post), live);
  }

  /** Sums over all posts. Cost: one step a watched post. */
  sumTotals(): { connections: number; users: number } {
    const sum = { connections: 0, users: 0 };
    for (const { connections, users } of this.#posts.values()) {
      sum.connections += connections;
      sum.users += users;
    }
    return sum;
  }

  #touch(post: string): void {
    this.#changed.add(post);
    this.#timer ??= this.clock.after(LIVE_MS, () => this.emitChanges());
  }

  /** Emits what has changed, also before its time: a gateway that ends reports those who have left before it closes its store. */
  emitChanges(): void {
    this.#timer?.cancel();
    this.#timer = null;
    const changes = new Map<string, ViewersChange>();
    for (const post of this.#changed) {
      const viewers = this.#posts.get(post);
      if (viewers === undefined) continue;
      changes.set(post, viewers.takeChange());
      if (viewers.connections === 0) this.#posts.delete(post);
    }
    this.#changed.clear();
    this.#changes.next(changes);
  }
}
