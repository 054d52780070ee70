import type { Fence } from '../../src/counters/batch.js';
import { type Bucket, epochOf, type MarkGeneration, type PostState } from '../../src/counters/bucket.js';
import type { Key64 } from '../../src/counters/ids.js';
import type { Replica } from '../../src/counters/pn-counter.js';

/** A bucket in Maps: what `apply` is tried on, and what other stores are compared with. */
export class MemoryBucket implements Bucket {
  readonly epoch: string;
  readonly #fences = new Map<string, Fence>();
  readonly #posts = new Map<string, PostState>();
  readonly #members = new Set<string>();
  #marks = new Map<string, number>();
  #marksBefore = new Map<string, number>();
  #number = 1;
  #startedAtMs = 0;

  constructor(readonly replica: Replica) {
    this.epoch = epochOf(replica);
  }

  /** The same contents, apart from each other from now on. */
  copy(): MemoryBucket {
    const copy = new MemoryBucket(this.replica);
    for (const [incarnation, fence] of this.#fences) copy.#fences.set(incarnation, fence);
    for (const [id, state] of this.#posts) copy.#posts.set(id, state);
    for (const member of this.#members) copy.#members.add(member);
    copy.#marks = new Map(this.#marks);
    copy.#marksBefore = new Map(this.#marksBefore);
    copy.#number = this.#number;
    copy.#startedAtMs = this.#startedAtMs;
    return copy;
  }

  forgetFences(): void {
    this.#fences.clear();
  }

  fence(incarnation: string): Fence | undefined {
    return this.#fences.get(incarnation);
  }

  setFence(incarnation: string, fence: Fence): void {
    this.#fences.set(incarnation, fence);
  }

  post(id: string): PostState | undefined {
    const state = this.#posts.get(id);
    return state && copyOf(state);
  }

  setPost(id: string, state: PostState): void {
    this.#posts.set(id, copyOf(state));
  }

  hasMember(post: string, metric: number, actor: Key64): boolean {
    return this.#members.has(`${metric} ${post} ${textOf(actor)}`);
  }

  setMember(post: string, metric: number, actor: Key64, on: boolean): void {
    const member = `${metric} ${post} ${textOf(actor)}`;
    if (on) this.#members.add(member);
    else this.#members.delete(member);
  }

  generation(): MarkGeneration {
    return { number: this.#number, startedAtMs: this.#startedAtMs, marks: this.#marks.size };
  }

  startGeneration(atMs: number): void {
    this.#number += 1;
    this.#startedAtMs = atMs;
    this.#marksBefore = this.#marks;
    this.#marks = new Map();
  }

  mark(session: Key64): number {
    return this.#marks.get(textOf(session)) ?? this.#marksBefore.get(textOf(session)) ?? 0;
  }

  setMark(session: Key64, seq: number): void {
    this.#marks.set(textOf(session), seq);
  }
}

function textOf({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}

/** What is kept and what is lent out must not be the same objects: `apply` works on what it is given. */
function copyOf(state: PostState): PostState {
  return { ...state, metrics: state.metrics.map((metric) => ({ ...metric })) };
}
