import type { ProducerState } from '../../src/counters/batch.js';
import {
  type ChangeRecorder,
  formatEpoch,
  type MarkGeneration,
  NO_CHANGES,
  type PostState,
} from '../../src/counters/bucket.js';
import type { Key64 } from '../../src/counters/ids.js';
import type { RegionIncarnation } from '../../src/counters/pn-counter.js';
import { type ReplicatedBucket, ReplicatedChanges } from '../../src/counters/replication/replicated-bucket.js';
import { ReplicationState, type PersistentReplicationState } from '../../src/counters/replication/replication-state.js';
import type { ToggleRegister } from '../../src/counters/replication/delta.js';

/** A bucket in Maps: what `apply` is tried on, and what other stores are compared with. */
export class MemoryBucket implements ReplicatedBucket {
  readonly changes: ChangeRecorder;
  readonly #fences = new Map<string, ProducerState>();
  readonly #posts = new Map<string, PostState>();
  readonly #members = new Map<string, Member>();
  readonly #registers = new Map<string, Member & { readonly stamp: number }>();
  #marks = new Map<string, number>();
  #marksBefore = new Map<string, number>();
  #number = 1;
  #startedAtMs = 0;

  constructor(
    public incarnation: RegionIncarnation,
    /** `null`: there are no other regions. */
    readonly state: ReplicationState | null = null,
  ) {
    this.changes = state === null ? NO_CHANGES : new ReplicatedChanges(this);
  }

  get replication(): ReplicationState {
    if (this.state === null) throw new Error('this bucket has no other regions');
    return this.state;
  }

  get epoch(): string {
    return formatEpoch(this.incarnation);
  }

  /** The same contents, apart from each other from now on. Marks of the feed are none of them. */
  copy(): MemoryBucket {
    const copy = new MemoryBucket(
      this.incarnation,
      this.state && new ReplicationState(this.incarnation.region, this.#stateCopy()),
    );
    for (const [incarnation, fence] of this.#fences) copy.#fences.set(incarnation, fence);
    for (const [id, state] of this.#posts) copy.#posts.set(id, state);
    for (const [id, member] of this.#members) copy.#members.set(id, member);
    for (const [id, register] of this.#registers) copy.#registers.set(id, register);
    copy.#marks = new Map(this.#marks);
    copy.#marksBefore = new Map(this.#marksBefore);
    copy.#number = this.#number;
    copy.#startedAtMs = this.#startedAtMs;
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
    this.#fences.clear();
  }

  producerState(incarnation: string): ProducerState | undefined {
    return this.#fences.get(incarnation);
  }

  setProducerState(incarnation: string, fence: ProducerState): void {
    this.#fences.set(incarnation, fence);
  }

  post(id: string): PostState | undefined {
    const state = this.#posts.get(id);
    return state && copyOf(state);
  }

  setPost(id: string, state: PostState): void {
    this.#posts.set(id, copyOf(state));
  }

  get posts(): string[] {
    return [...this.#posts.keys()];
  }

  hasMember(post: string, metric: number, actor: Key64): boolean {
    return this.#members.has(placeOf(post, metric, actor));
  }

  setMember(post: string, metric: number, actor: Key64, on: boolean): void {
    if (on) this.#members.set(placeOf(post, metric, actor), { post, metric, actor });
    else this.#members.delete(placeOf(post, metric, actor));
  }

  listMembers(post: string, metric: number): Key64[] {
    return [...this.#members.values()]
      .filter((member) => member.post === post && member.metric === metric)
      .map(({ actor }) => actor);
  }

  registerStamp(post: string, metric: number, actor: Key64): number {
    return this.#registers.get(placeOf(post, metric, actor))?.stamp ?? 0;
  }

  setRegisterStamp(post: string, metric: number, actor: Key64, stamp: number): void {
    this.#registers.set(placeOf(post, metric, actor), { post, metric, actor, stamp });
  }

  listRegisters(post: string): ToggleRegister[] {
    return [...this.#registers.values()]
      .filter((register) => register.post === post)
      .map(({ metric, actor, stamp }) => ({ metric, actor, stamp, on: this.hasMember(post, metric, actor) }));
  }

  listPostsWithRegisters(): string[] {
    return [...new Set([...this.#registers.values()].map(({ post }) => post))];
  }

  /** Those up to the floor are not needed any more. */
  dropStableRegisters(): void {
    const { stableStamp: floor } = this.replication.state;
    for (const [place, { stamp }] of this.#registers) if (stamp <= floor) this.#registers.delete(place);
  }

  get registerCount(): number {
    return this.#registers.size;
  }

  persistClock(): void {}

  persistReplication(): void {}

  markGeneration(): MarkGeneration {
    return { number: this.#number, startedAtMs: this.#startedAtMs, marks: this.#marks.size };
  }

  startMarkGeneration(atMs: number): void {
    this.#number += 1;
    this.#startedAtMs = atMs;
    this.#marksBefore = this.#marks;
    this.#marks = new Map();
  }

  lastSeq(session: Key64): number {
    return this.#marks.get(textOf(session)) ?? this.#marksBefore.get(textOf(session)) ?? 0;
  }

  setLastSeq(session: Key64, seq: number): void {
    this.#marks.set(textOf(session), seq);
  }
}

interface Member {
  readonly post: string;
  readonly metric: number;
  readonly actor: Key64;
}

function placeOf(post: string, metric: number, actor: Key64): string {
  return `${metric} ${post} ${textOf(actor)}`;
}

function textOf({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}

/** What is kept and what is lent out must not be the same objects: `apply` works on what it is given. */
function copyOf(state: PostState): PostState {
  return { ...state, metrics: state.metrics.map((metric) => ({ ...metric })) };
}
