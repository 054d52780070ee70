import type { Bucket, PostState } from '../bucket.js';
import type { Key64 } from '../ids.js';
import type { Metrics } from '../metrics.js';
import { findEntry } from '../pn-counter.js';
import {
  type EntryDelta,
  type MembersDelta,
  subsetOf,
  type PostDelta,
  type ToggleRegister,
  type Delta,
} from './delta.js';
import type { ReplicatedBucket } from './replicated-bucket.js';

/** 8 bytes each. */
const MEMBERS_A_PART = 10_000;
/** As if a batch had said them. */
export const TOGGLES_PER_STAMP = 500;

/** A post while its changes are put together. */
interface Changes extends PostDelta {
  entries: readonly EntryDelta[];
  registers: ToggleRegister[];
}

/** One for all that have none. */
const NOTHING: never[] = [];

/** What a region knows of itself goes out as of its present life, whichever life has counted it: see `increment`. */
function ownEntries({ incarnation: replica }: Bucket, state: PostState): EntryDelta[] {
  const entries: EntryDelta[] = [];
  for (const [metric, { counter }] of state.metrics.entries()) {
    const own = findEntry(counter, replica.region);
    if (own !== undefined) entries.push({ metric, incarnation: replica, p: own.p, n: own.n });
  }
  return entries;
}

function allEntries(bucket: Bucket, state: PostState): EntryDelta[] {
  const foreign = state.metrics.flatMap(({ counter }, metric) =>
    counter
      .filter(({ incarnation }) => incarnation.region !== bucket.incarnation.region)
      .map(({ incarnation, p, n }) => ({ metric, incarnation, p, n })),
  );
  return [...ownEntries(bucket, state), ...foreign];
}

/** A shipment that says nothing but what the receiver is asked to confirm. */
export function emptyDelta(kind: Delta['kind'], number: number, bucket: ReplicatedBucket, after: number): Delta {
  const {
    startedAtStamp: born,
    predecessors: goesOn,
    ackedUpTo: confirmed,
    stableStamp: floor,
  } = bucket.replication.state;
  const { incarnation: source } = bucket;
  return {
    kind,
    bucket: number,
    source,
    startedAtStamp: born,
    predecessors: goesOn,
    after,
    upTo: after,
    ackedUpTo: confirmed,
    stableStamp: floor,
    posts: [],
    fullSyncReceiver: null,
  };
}

/**
 * What was changed here after a stamp, newest state only; `null` if that is not known any more: it has to be scanned for.
 * @param limit about this many marks
 */
export function buildDelta(number: number, bucket: ReplicatedBucket, after: number, limit: number): Delta | null {
  const regional = bucket.replication;
  const { feed, state } = regional;
  if (after < feed.droppedUpTo) return null;
  const { entries: marks, upTo } = feed.entriesAfter(after, limit);
  const posts = new Map<string, Changes>();
  for (const { post, metric, actor } of marks) {
    let changes = posts.get(post);
    if (changes === undefined) {
      const updatedAtMs = bucket.post(post)?.updatedAtMs ?? 0;
      posts.set(post, (changes = { post, updatedAtMs, entries: NOTHING, registers: NOTHING, members: NOTHING }));
    }
    if (actor === null) changes.entries = ownEntries(bucket, bucket.post(post)!);
    else {
      const stamp = bucket.registerStamp(post, metric, actor);
      // Else all know.
      if (stamp > state.stableStamp) {
        if (changes.registers === NOTHING) changes.registers = [];
        changes.registers.push({ metric, actor, stamp, on: bucket.hasMember(post, metric, actor) });
      }
    }
  }
  return {
    ...emptyDelta('changes', number, bucket, after),
    upTo: upTo ?? Math.max(state.clock, after),
    posts: [...posts.values()],
  };
}

/** All that is known of a post here, whoever counted it. */
export function buildFullPost(bucket: ReplicatedBucket, metrics: Metrics, post: string): PostDelta {
  const state = bucket.post(post) ?? { v: 0, updatedAtMs: 0, metrics: [] };
  const { stableStamp: floor } = bucket.replication.state;
  const registers = bucket.listRegisters(post).filter(({ stamp }) => stamp > floor);
  const stamped = new Set(registers.map(({ metric, actor }) => `${metric} ${actor.hi} ${actor.lo}`));
  const hasRegister = (metric: number, { hi, lo }: Key64): boolean => stamped.has(`${metric} ${hi} ${lo}`);
  const members = metrics.list.flatMap(({ kind, index: metric }) => {
    if (!kind.hasMembers) return [];
    return splitMembers(
      metric,
      bucket.listMembers(post, metric).filter((actor) => !hasRegister(metric, actor)),
    );
  });
  return { post, updatedAtMs: state.updatedAtMs, entries: allEntries(bucket, state), registers, members };
}

/** What one message can carry. */
export function splitMembers(metric: number, actors: readonly Key64[]): MembersDelta[] {
  const subsets = Math.max(1, Math.ceil(actors.length / MEMBERS_A_PART));
  if (subsets === 1) return [{ metric, subset: 0, subsets, actors }];
  const lists = Array.from({ length: subsets }, (): Key64[] => []);
  for (const actor of actors) lists[subsetOf(actor, subsets)]!.push(actor);
  return lists.map((list, subset) => ({ metric, subset, subsets, actors: list }));
}

/**
 * The bucket has begun another life, whose stamps are to be above `clock`: those that the life before has given at or below
 * it are given again, in their order, because others would take them for what they have.
 * @param startedAtStamp of the life before
 */
export function restamp(bucket: ReplicatedBucket, startedAtStamp: number, clock: number): void {
  const regional = bucket.replication;
  // Of what all have heard nobody doubts the stamps.
  const above = Math.max(startedAtStamp, regional.state.stableStamp);
  const given = registersOf(bucket).filter(({ stamp }) => stamp > above && stamp <= clock && regional.isLocal(stamp));
  regional.receive(clock);
  regional.state.startedAtStamp = regional.state.clock;
  assignStamps(bucket, given);
}

/**
 * The bucket has begun another life because its clock had run ahead: the clock goes back to `clock`, and what actors have said after it
 * is given again, in its order, whoever gave it. No count is lost. Does nothing where the clock is not ahead of that.
 */
export function rewindClock(bucket: ReplicatedBucket, clock: number): void {
  const regional = bucket.replication;
  if (regional.state.clock <= clock) return;
  const { stableStamp: floor } = regional.state;
  const ahead = registersOf(bucket).filter(({ stamp }) => stamp > clock);
  regional.rewindClock(clock);
  // What all have heard needs no register: at the floor, as it now is, they are dropped.
  const heard = ahead.filter(({ stamp }) => stamp <= floor);
  for (const { post, metric, actor } of heard) bucket.setRegisterStamp(post, metric, actor, Math.min(floor, clock));
  assignStamps(
    bucket,
    ahead.filter(({ stamp }) => stamp > floor),
  );
}

type PostRegister = ToggleRegister & { readonly post: string };

function registersOf(bucket: ReplicatedBucket): PostRegister[] {
  return bucket.listPostsWithRegisters().flatMap((post) => bucket.listRegisters(post).map((one) => ({ post, ...one })));
}

/** Stamps above all that there were, as if batches had said it. */
function assignStamps(bucket: ReplicatedBucket, given: PostRegister[]): void {
  const regional = bucket.replication;
  // Of one stamp in any order, as long as it is the same in every store.
  given.sort((a, b) => a.stamp - b.stamp || (textOf(a) < textOf(b) ? -1 : 1));
  let stamp = 0;
  for (const [i, { post, metric, actor }] of given.entries()) {
    if (i % TOGGLES_PER_STAMP === 0) stamp = regional.now(0);
    bucket.setRegisterStamp(post, metric, actor, stamp);
    regional.recordToggle(post, metric, actor, stamp);
  }
}

function textOf({ post, metric, actor }: PostRegister): string {
  return `${post} ${metric} ${actor.hi} ${actor.lo}`;
}
