import type { ProducerState } from '../../src/counters/batch.js';
import { type ChangeRecorder, formatEpoch, NO_CHANGES, type PostState } from '../../src/counters/bucket.js';
import { SEQ_BEFORE_FIRST } from '../../src/counters/changed-posts.js';
import type { Key64 } from '../../src/counters/ids.js';
import type { RegionIncarnation } from '../../src/counters/pn-counter.js';
import { type ReplicatedBucket, ReplicatedChanges } from '../../src/counters/replication/replicated-bucket.js';
import { ReplicationState, type PersistentReplicationState } from '../../src/counters/replication/replication-state.js';
import type { ToggleRegister } from '../../src/counters/replication/delta.js';
import type { MemoryChangeRecord } from './memory-change-record.js';
import type { Metrics } from '../../src/counters/metrics.js';
import { METRICS } from './operations.js';
import { MemoryMarks } from './memory-marks.js';
import { HOME_RULES, type HomeRules } from '../../src/counters/replication/home-rules.js';
import { ReplicatedHomes } from '../../src/counters/replication/milestone-homes.js';
import { MemoryMilestones } from './memory-milestones.js';

/** The part of the settings that a bucket needs with other regions. */
export interface RegionRules {
  readonly metrics: Metrics;
  readonly peers: readonly string[];
  readonly rules: HomeRules;
  /** Whether no failover can lose a record any more, if not by its age. */
  readonly isDurable?: () => boolean;
}

const NO_REGIONS: RegionRules = { metrics: METRICS, peers: [], rules: HOME_RULES };

/** A bucket in Maps: the reference for `apply`, `mergeDelta` and other stores. */
export class MemoryBucket implements ReplicatedBucket {
  readonly changes: ChangeRecorder;
  /** The seq of a change record that was stopped. */
  stoppedAtSeq = SEQ_BEFORE_FIRST;
  changedPosts: MemoryChangeRecord | null = null;
  sessionMarks = new MemoryMarks();
  visitMarks = new MemoryMarks();
  forwardMarks = new MemoryMarks();
  milestones = new MemoryMilestones();
  readonly #homes: ReplicatedHomes;
  readonly #producers = new Map<string, ProducerState>();
  readonly #logPositions = new Map<string, number>();
  readonly #posts = new Map<string, PostState>();
  readonly #members = new Map<string, Member>();
  readonly #registers = new Map<string, Member & { readonly stamp: number }>();

  constructor(
    public incarnation: RegionIncarnation,
    /** `null`: there are no other regions. */
    readonly state: ReplicationState | null = null,
    private readonly regions: RegionRules = NO_REGIONS,
  ) {
    this.changes = state === null ? NO_CHANGES : new ReplicatedChanges(this);
    this.#homes = new ReplicatedHomes(this, regions.metrics, regions.rules);
  }

  get homes(): ReplicatedHomes {
    return this.#homes;
  }

  get peers(): readonly string[] {
    return this.regions.peers;
  }

  get replication(): ReplicationState {
    if (this.state === null) throw new Error('this bucket has no other regions');
    return this.state;
  }

  get epoch(): string {
    return formatEpoch(this.incarnation);
  }

  /** A bucket with the same contents, except for the change feed. */
  copy(): MemoryBucket {
    const copy = new MemoryBucket(
      this.incarnation,
      this.state && new ReplicationState(this.incarnation.region, this.#stateCopy()),
      this.regions,
    );
    for (const [producerId, producer] of this.#producers) copy.#producers.set(producerId, producer);
    for (const [log, position] of this.#logPositions) copy.#logPositions.set(log, position);
    for (const [id, state] of this.#posts) copy.#posts.set(id, state);
    for (const [id, member] of this.#members) copy.#members.set(id, member);
    for (const [id, register] of this.#registers) copy.#registers.set(id, register);
    copy.sessionMarks = this.sessionMarks.copy();
    copy.visitMarks = this.visitMarks.copy();
    copy.forwardMarks = this.forwardMarks.copy();
    copy.milestones = this.milestones.copy();
    copy.changedPosts = this.changedPosts?.copy(copy) ?? null;
    copy.stoppedAtSeq = this.stoppedAtSeq;
    return copy;
  }

  #stateCopy(): PersistentReplicationState {
    const { state } = this.replication;
    return {
      ...state,
      versionVector: new Map(state.versionVector),
      latestIncarnations: new Map(state.latestIncarnations),
    };
  }

  forgetProducerStates(): void {
    this.#producers.clear();
  }

  producerState(producerId: string): ProducerState | undefined {
    return this.#producers.get(producerId);
  }

  setProducerState(producerId: string, state: ProducerState): void {
    this.#producers.set(producerId, state);
  }

  logPosition(log: string): number {
    return this.#logPositions.get(log) ?? 0;
  }

  setLogPosition(log: string, position: number): void {
    this.#logPositions.set(log, position);
  }

  post(id: string): PostState | undefined {
    const state = this.#posts.get(id);
    return state && copyState(state);
  }

  setPost(id: string, state: PostState): void {
    this.#posts.set(id, copyState(state));
  }

  get posts(): string[] {
    return [...this.#posts.keys()];
  }

  hasMember(post: string, metric: number, actor: Key64): boolean {
    return this.#members.has(toMapKey(post, metric, actor));
  }

  setMember(post: string, metric: number, actor: Key64, on: boolean): void {
    if (on) this.#members.set(toMapKey(post, metric, actor), { post, metric, actor });
    else this.#members.delete(toMapKey(post, metric, actor));
  }

  listMembers(post: string, metric: number): Key64[] {
    return [...this.#members.values()]
      .filter((member) => member.post === post && member.metric === metric)
      .map(({ actor }) => actor);
  }

  countMembers(post: string, metric: number): number {
    return this.listMembers(post, metric).length;
  }

  registerStamp(post: string, metric: number, actor: Key64): number {
    return this.#registers.get(toMapKey(post, metric, actor))?.stamp ?? 0;
  }

  setRegisterStamp(post: string, metric: number, actor: Key64, stamp: number): void {
    this.#registers.set(toMapKey(post, metric, actor), { post, metric, actor, stamp });
  }

  listRegisters(post: string): ToggleRegister[] {
    return [...this.#registers.values()]
      .filter((register) => register.post === post)
      .map(({ metric, actor, stamp }) => ({ metric, actor, stamp, on: this.hasMember(post, metric, actor) }));
  }

  listPostsWithRegisters(): string[] {
    return [...new Set([...this.#registers.values()].map(({ post }) => post))];
  }

  listPostsWithMilestones(): string[] {
    return [...new Set([...this.milestones.list()].map(({ post }) => post))].sort();
  }

  /** Drops the registers up to the stable stamp, which are no longer needed. */
  dropStableRegisters(): void {
    const { stableStamp } = this.replication.state;
    for (const [key, { stamp }] of this.#registers) if (stamp <= stableStamp) this.#registers.delete(key);
  }

  get registerCount(): number {
    return this.#registers.size;
  }

  persistClock(): void {}

  persistReplication(): void {}
}

interface Member {
  readonly post: string;
  readonly metric: number;
  readonly actor: Key64;
}

function toMapKey(post: string, metric: number, actor: Key64): string {
  return `${metric} ${post} ${toText(actor)}`;
}

function toText({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}

/** Copies in and out, because `apply` changes the objects that it reads. */
function copyState(state: PostState): PostState {
  return { ...state, metrics: state.metrics.map((metric) => ({ ...metric })) };
}
