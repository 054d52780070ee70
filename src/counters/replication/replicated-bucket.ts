import type { Bucket, ChangeRecorder } from '../bucket.js';
import type { Key64 } from '../ids.js';
import type { ToggleRegister } from './delta.js';
import type { ReplicatedHomes } from './milestone-homes.js';
import type { ReplicationState } from './replication-state.js';

/** A bucket of a store that has peers: what building and merging deltas needs besides what `apply` does. */
export interface ReplicatedBucket extends Bucket {
  readonly replication: ReplicationState;
  /** The names of all other regions. */
  readonly peers: readonly string[];
  readonly homes: ReplicatedHomes;

  /** Stamp of the actor's latest toggle update; 0: there was none, or its register is no longer needed and was dropped. */
  registerStamp(post: string, metric: number, actor: Key64): number;
  setRegisterStamp(post: string, metric: number, actor: Key64, stamp: number): void;
  /** All registers of a post that are kept, perhaps with some that are no longer needed. */
  listRegisters(post: string): ToggleRegister[];
  listPostsWithRegisters(): string[];
  listPostsWithMilestones(): string[];
  /** All actors that have the toggle on. */
  listMembers(post: string, metric: number): Key64[];

  /** Writes the clock of `replication` with the other changes. */
  persistClock(): void;
  /** Writes all of `replication` with the other changes. */
  persistReplication(): void;
}

/** Records what a batch changes, so that the bucket's peers get it. */
export class ReplicatedChanges implements ChangeRecorder {
  readonly keepsRegisters = true;

  constructor(private readonly bucket: ReplicatedBucket) {}

  now(wallMs: number): number {
    const stamp = this.bucket.replication.now(wallMs);
    this.bucket.persistClock();
    return stamp;
  }

  recordCount(post: string, stamp: number): void {
    this.bucket.replication.recordCount(post, stamp);
  }

  recordToggle(post: string, metric: number, actor: Key64, stamp: number): void {
    this.bucket.setRegisterStamp(post, metric, actor, stamp);
    this.bucket.replication.recordToggle(post, metric, actor, stamp);
  }
}
