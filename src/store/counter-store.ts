import type { Observable } from 'rxjs';
import type { Batch, CommitResult, PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { MilestoneStore } from './milestone-store.js';
import type { ReplicatedStore } from './replicated-store.js';

/** A post as one actor sees it. */
export interface PostView {
  readonly counts: PostCounts;
  /** Bit set by metric index: the toggles that are on for the actor. */
  readonly on: number;
}

/** The viewers of a post at this gateway, as they are now. */
export interface PostViewers {
  /** Viewers that are counted by their number. */
  readonly others: number;
  /** People who count once, at however many gateways they are: the keys of actors, as `toKeyText` writes them. */
  people(): Iterable<string>;
  hasPerson(person: string): boolean;
}

export interface ViewersChange {
  readonly viewers: PostViewers;
  /** People who came or left since the last change; `viewers` has those who are there. */
  readonly people: Iterable<string>;
}

/** The port to where counters are kept. Committing a batch means `apply` in src/counters; every store equals it. */
export interface CounterStore {
  /**
   * Applies the batch atomically and resolves when it is durable. Rejects when the outcome is unknown: the same batch may then be sent
   * again, and is applied once. One batch of a bucket and a producer at a time. Settles within seconds: a store whose server may never
   * reply has a deadline of its own.
   */
  commit(batch: Batch): Promise<CommitResult>;

  /** The posts in the order of `posts`, after every commit that has resolved. Unknown posts are zeros at version 0. */
  read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]>;

  /** Publishes the post's changes from now on. Called when its first subscriber comes, before it is read. */
  watch(post: string): void;
  unwatch(post: string): void;

  /**
   * The new absolute counts of watched posts, whichever gateway changed them. May leave out, repeat and reorder versions in between; the
   * last one before a pause always comes.
   */
  readonly changes: Observable<readonly PostCounts[]>;

  /**
   * Reports that these posts have other viewers at this gateway. Gateways that share a store get the number of viewers at all of them as
   * `live` of PostCounts; the viewers of a gateway that is down are forgotten soon.
   */
  reportViewers(changes: ReadonlyMap<string, ViewersChange>): void;

  /**
   * Emits when the store is reachable again, perhaps on another server that lacks the last commits: these are to be replayed then.
   */
  readonly reconnected: Observable<void>;

  /** Whether the last commit or probe succeeded; `/readyz` reports it. */
  readonly available: boolean;

  /** Whether all its servers are reachable. While one is not, recent commits have to be retained until it is. */
  readonly allReachable: boolean;

  readonly milestones: MilestoneStore;

  /** Its port to other regions; `null` where there are none. */
  readonly replication: ReplicatedStore | null;

  /** A failover may lose commits that are up to this old: gateways retain their batches to replay them. 0: none are lost. */
  readonly replayWindowMs: number;

  /** Fields of the log line at boot: where the data is. */
  readonly description: Readonly<Record<string, string>>;

  close(): Promise<void>;
}
