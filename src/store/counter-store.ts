import type { Observable } from 'rxjs';
import type { Batch, CommitResult, PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { ReplicatedStore } from './replicated-store.js';

/** A post as one actor sees it. */
export interface PostView {
  readonly counts: PostCounts;
  /** A bit for each metric index whose toggle is on for the actor. */
  readonly on: number;
}

/** Where counters are kept. What committing a batch means is `apply` in src/counters; every store equals it. */
export interface CounterStore {
  /**
   * Applies the batch atomically and resolves when that is durable. Rejects when the outcome is not known: the same
   * batch may then be sent again, and is applied once. One batch of a bucket and an incarnation at a time. Settles
   * within seconds: a store that may never answer has a deadline of its own.
   */
  commit(batch: Batch): Promise<CommitResult>;

  /** The posts in the order asked, after every commit that has resolved. Unknown posts are zeros at version 0. */
  read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]>;

  /** Has the post's changes announced from now on. Called when its first subscriber comes, before it is read. */
  watch(post: string): void;
  unwatch(post: string): void;

  /**
   * The new absolute counts of watched posts, whoever changed them. May leave out, repeat and reorder versions in
   * between; the last one before a pause always comes.
   */
  readonly changes: Observable<readonly PostCounts[]>;

  /**
   * Tells how many watch these posts here now. Gateways that share a store learn the sum as `live` of PostCounts, and
   * what a gateway told is forgotten soon after it is gone.
   */
  reportViewers(viewers: ReadonlyMap<string, number>): void;

  /**
   * Emits when the store is reached again after it was away, perhaps on another server that lacks the last commits:
   * what was committed lately is to be sent again.
   */
  readonly reconnected: Observable<void>;

  /** Whether the last commit or probe went through; `/readyz` answers by it. */
  readonly available: boolean;

  /** No part of it is away. While one is, what was committed lately has to be kept for its return. */
  readonly allReachable: boolean;

  /** Its side of replication; `null` where there are no other regions. */
  readonly replication: ReplicatedStore | null;

  /** How long ago commits may be that it loses, ms: gateways keep these, to replay them. 0: it loses none. */
  readonly replayWindowMs: number;

  /** Fields of the line that is logged at boot: where the data is. */
  readonly description: Readonly<Record<string, string>>;

  close(): Promise<void>;
}
