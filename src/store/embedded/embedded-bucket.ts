import type { ProducerState } from '../../counters/batch.js';
import {
  type ChangedPostsRecorder,
  type ChangeRecorder,
  formatEpoch,
  NO_CHANGES,
  type PostState,
} from '../../counters/bucket.js';
import type { Key64 } from '../../counters/ids.js';
import type { Metrics } from '../../counters/metrics.js';
import { isKnownFinal, type ReachedMilestone } from '../../counters/milestones.js';
import type { RegionIncarnation } from '../../counters/pn-counter.js';
import type { ToggleRegister } from '../../counters/replication/delta.js';
import { ReplicatedHomes } from '../../counters/replication/milestone-homes.js';
import { type ReplicatedBucket, ReplicatedChanges } from '../../counters/replication/replicated-bucket.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import type { MilestoneNews } from '../milestone-store.js';
import type { CachedPost } from './cached-post.js';
import type { ChangeRecords } from './change-records.js';
import type { LmdbTables } from './disk/lmdb-environment.js';
import type { MemberTable } from './disk/member-table.js';
import { locateMembers } from './disk/post-record.js';
import { encodeBigEndian } from './disk/record-bytes.js';
import type { RegisterTable } from './disk/register-table.js';
import type { WriteSet } from './disk/write-set.js';
import { BucketMilestoneRecords } from './bucket-milestone-records.js';
import { LogPositions } from './log-positions.js';
import { ProducerStates } from './producer-states.js';
import type { RegisterExpiry } from './register-expiry.js';
import { ReplicationStateWriter } from './replication-state-writer.js';
import { ExpiringMarks } from './expiring-marks.js';
import type { UnsettledPosts } from './unsettled-posts.js';

/** The part of the cache that a bucket uses. */
interface BucketRecords {
  readonly tables: LmdbTables;
  readonly changes: WriteSet;
  readonly members: MemberTable;
  readonly registers: RegisterTable;
  readonly registerExpiry: RegisterExpiry;
  /** The own region's current incarnation. */
  readonly incarnation: RegionIncarnation;
  readonly changeRecords: ChangeRecords;
  getReplicationState(bucket: number): ReplicationState | null;
  readonly milestoneNews: MilestoneNews[];
  readonly unsettled: UnsettledPosts;
  readonly metrics: Metrics;
  /** The names of all other regions. */
  readonly peers: readonly string[];
  bucketOf(post: string): number;
  loadPost(id: string): CachedPost;
}

/** One bucket, for as long as its records are cached. */
export class EmbeddedBucket implements ReplicatedBucket {
  readonly changes: ChangeRecorder;
  readonly sessionMarks: ExpiringMarks;
  /** `null` where there are no other regions. */
  readonly #replication: ReplicationState | null;
  readonly #producers: ProducerStates;
  readonly #logPositions: LogPositions;
  readonly #replicationWriter: ReplicationStateWriter | null;
  readonly milestones: BucketMilestoneRecords;
  readonly homes: ReplicatedHomes;
  #visitMarks: ExpiringMarks | null = null;
  #forwardMarks: ExpiringMarks | null = null;

  constructor(
    readonly number: number,
    private readonly records: BucketRecords,
  ) {
    const { tables, changes } = records;
    const prefix = encodeBigEndian(number, 2);
    const replication = records.getReplicationState(number);
    this.#replication = replication;
    this.changes = replication === null ? NO_CHANGES : new ReplicatedChanges(this);
    this.#producers = new ProducerStates(tables.producerStates, changes, prefix);
    this.#logPositions = new LogPositions(tables.logPositions, changes, prefix);
    this.milestones = new BucketMilestoneRecords(number, records);
    this.homes = new ReplicatedHomes(this, records.metrics);
    this.sessionMarks = new ExpiringMarks(tables.sessionMarks, changes, prefix);
    this.#replicationWriter =
      replication && new ReplicationStateWriter(replication.state, tables.replication, changes, prefix);
  }

  get incarnation(): RegionIncarnation {
    return this.records.incarnation;
  }

  get peers(): readonly string[] {
    return this.records.peers;
  }

  get epoch(): string {
    return formatEpoch(this.incarnation);
  }

  get changedPosts(): ChangedPostsRecorder | null {
    return this.records.changeRecords.recorder(this.number);
  }

  get isReplicated(): boolean {
    return this.#replication !== null;
  }

  /** Whether no region can lose the record any more. */
  isFinal(record: ReachedMilestone): boolean {
    return this.#replication === null || isKnownFinal(record, this.incarnation.region, this.milestones);
  }

  get replication(): ReplicationState {
    if (this.#replication === null) throw new Error('this store has no other regions');
    return this.#replication;
  }

  producerState(producerId: string): ProducerState | undefined {
    return this.#producers.get(producerId);
  }

  setProducerState(producerId: string, state: ProducerState): void {
    this.#producers.set(producerId, state);
  }

  logPosition(log: string): number {
    return this.#logPositions.get(log);
  }

  setLogPosition(log: string, position: number): void {
    this.#logPositions.set(log, position);
  }

  post(id: string): PostState | undefined {
    const post = this.records.loadPost(id);
    return post.exists ? post.record.state : undefined;
  }

  setPost(id: string, state: PostState): void {
    this.records.loadPost(id).set(state);
  }

  hasMember(id: string, metric: number, actor: Key64): boolean {
    const { members } = this.records.loadPost(id).record;
    const location = members[metric];
    return location !== undefined && this.records.members.has(id, metric, location, actor);
  }

  setMember(id: string, metric: number, actor: Key64, on: boolean): void {
    const post = this.records.loadPost(id);
    this.records.changes.add(post);
    this.records.members.set(id, metric, locateMembers(post.record, metric), actor, on);
  }

  listMembers(id: string, metric: number): Key64[] {
    const location = this.records.loadPost(id).record.members[metric];
    return location === undefined ? [] : this.records.members.list(id, metric, location);
  }

  countMembers(id: string, metric: number): number {
    return this.listMembers(id, metric).length;
  }

  registerStamp(id: string, metric: number, actor: Key64): number {
    const location = this.records.loadPost(id).record.members[metric];
    return location === undefined ? 0 : this.records.registers.get(id, metric, location, actor);
  }

  setRegisterStamp(id: string, metric: number, actor: Key64, stamp: number): void {
    const post = this.records.loadPost(id);
    this.records.changes.add(post);
    const { durableStableStamp } = this.#replicationWriter!;
    this.records.registers.set(id, metric, locateMembers(post.record, metric), actor, stamp, durableStableStamp);
    this.records.registerExpiry.indexRegister(this.number, id, stamp);
  }

  listRegisters(id: string): ToggleRegister[] {
    const { record } = this.records.loadPost(id);
    return record.members.flatMap((location, metric) =>
      this.records.registers.list(id, metric, location).map(({ actor, stamp }) => {
        return { metric, actor, stamp, on: this.hasMember(id, metric, actor) };
      }),
    );
  }

  listPostsWithRegisters(): string[] {
    return this.records.registerExpiry.listPostsWithRegisters(this.number);
  }

  listPostsWithMilestones(): string[] {
    return this.milestones.listPosts();
  }

  persistClock(): void {
    this.#replicationWriter!.persistClock();
  }

  persistExactClock(): void {
    this.#replicationWriter!.persistExactClock();
  }

  persistStableStamp(): void {
    this.#replicationWriter!.persistStableStamp();
  }

  persistReplication(): void {
    this.#replicationWriter!.persistState();
  }

  /** Read when it is first needed, because most buckets never have visits. */
  get visitMarks(): ExpiringMarks {
    const { tables, changes } = this.records;
    return (this.#visitMarks ??= new ExpiringMarks(tables.visitMarks, changes, encodeBigEndian(this.number, 2)));
  }

  get forwardMarks(): ExpiringMarks {
    const { tables, changes } = this.records;
    return (this.#forwardMarks ??= new ExpiringMarks(tables.forwardMarks, changes, encodeBigEndian(this.number, 2)));
  }

  /** How many generations of marks have begun. */
  get markGenerations(): number {
    return [this.sessionMarks, this.visitMarks, this.forwardMarks].reduce(
      (sum, { generation }) => sum + generation.number,
      0,
    );
  }

  /** Removes up to `limit` chunks of expired marks. @returns how many it has removed */
  purgeMarks(limit: number): number {
    return [this.sessionMarks, this.visitMarks, this.forwardMarks].reduce(
      (removed, marks) => (removed < limit ? removed + marks.purge(limit - removed) : removed),
      0,
    );
  }
}
