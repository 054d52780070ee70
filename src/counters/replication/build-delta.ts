import type { Bucket, PostState } from '../bucket.js';
import type { Key64 } from '../ids.js';
import type { Metrics } from '../metrics.js';
import { findEntry } from '../pn-counter.js';
import {
  type Delta,
  type EntryDelta,
  type HomeDelta,
  type MembersDelta,
  type PostDelta,
  subsetOf,
  type ToggleRegister,
} from './delta.js';
import type { ReplicatedBucket } from './replicated-bucket.js';

/** 8 bytes each. */
const MEMBERS_PER_SUBSET = 10_000;
/** As many as a batch may have. */
export const TOGGLES_PER_STAMP = 500;

/** The delta of a post while its changes are collected. */
interface PostChanges extends PostDelta {
  entries: readonly EntryDelta[];
  registers: ToggleRegister[];
  homes?: readonly HomeDelta[];
}

const NO_STATE: PostState = { v: 0, updatedAtMs: 0, metrics: [] };

/** Shared by all deltas that have none, because a list for each would be an allocation. */
const NOTHING: never[] = [];

/** The own region's entries always name its current incarnation, whichever one counted: see `increment`. */
function buildOwnEntries({ incarnation }: Bucket, state: PostState): EntryDelta[] {
  const entries: EntryDelta[] = [];
  for (const [metric, { counter }] of state.metrics.entries()) {
    const own = findEntry(counter, incarnation.region);
    if (own !== undefined) entries.push({ metric, incarnation, p: own.p, n: own.n });
  }
  return entries;
}

function buildAllEntries(bucket: Bucket, state: PostState): EntryDelta[] {
  const foreign = state.metrics.flatMap(({ counter }, metric) =>
    counter
      .filter(({ incarnation }) => incarnation.region !== bucket.incarnation.region)
      .map(({ incarnation, p, n }) => ({ metric, incarnation, p, n })),
  );
  return [...buildOwnEntries(bucket, state), ...foreign];
}

/** A delta without posts: it only carries what the receiver is to acknowledge. */
export function emptyDelta(kind: Delta['kind'], number: number, bucket: ReplicatedBucket, after: number): Delta {
  const { startedAtStamp, predecessors, ackedUpTo, stableStamp } = bucket.replication.state;
  return {
    kind,
    bucket: number,
    source: bucket.incarnation,
    startedAtStamp,
    predecessors,
    after,
    upTo: after,
    ackedUpTo,
    stableStamp,
    posts: [],
    fullSyncReceiver: null,
  };
}

/**
 * The changes of the bucket after a stamp, newest state only. `null`: the change feed no longer has all of them, so the peer needs a full
 * sync.
 * @param limit about this many entries of the feed
 */
export function buildDelta(number: number, bucket: ReplicatedBucket, after: number, limit: number): Delta | null {
  const { feed, state } = bucket.replication;
  if (after < feed.droppedUpTo) return null;
  const { entries, upTo } = feed.entriesAfter(after, limit);
  const posts = new Map<string, PostChanges>();
  for (const { post, metric, actor } of entries) {
    let changes = posts.get(post);
    if (changes === undefined) {
      const updatedAtMs = bucket.post(post)?.updatedAtMs ?? 0;
      posts.set(post, (changes = { post, updatedAtMs, entries: NOTHING, registers: NOTHING, members: NOTHING }));
    }
    if (actor === null) {
      changes.entries = buildOwnEntries(bucket, bucket.post(post) ?? NO_STATE);
      addHomes(changes, bucket.homes.exchange.build(post, false));
      continue;
    }
    const stamp = bucket.registerStamp(post, metric, actor);
    // At or below the stable stamp every region has it already.
    if (stamp <= state.stableStamp) continue;
    if (changes.registers === NOTHING) changes.registers = [];
    changes.registers.push({ metric, actor, stamp, on: bucket.hasMember(post, metric, actor) });
  }
  return {
    ...emptyDelta('changes', number, bucket, after),
    upTo: upTo ?? Math.max(state.clock, after),
    posts: [...posts.values()],
  };
}

/** Everything that the bucket has of a post, whichever region counted it. */
export function buildFullPost(bucket: ReplicatedBucket, metrics: Metrics, post: string): PostDelta {
  const state = bucket.post(post) ?? NO_STATE;
  const { stableStamp } = bucket.replication.state;
  const registers = bucket.listRegisters(post).filter(({ stamp }) => stamp > stableStamp);
  const toggles = new Set(registers.map(({ metric, actor }) => `${metric} ${actor.hi} ${actor.lo}`));
  const hasRegister = (metric: number, { hi, lo }: Key64): boolean => toggles.has(`${metric} ${hi} ${lo}`);
  const members = metrics.list.flatMap(({ kind, index: metric }) => {
    if (!kind.hasMembers) return [];
    return splitMembers(
      metric,
      bucket.listMembers(post, metric).filter((actor) => !hasRegister(metric, actor)),
    );
  });
  const full: PostChanges = {
    ...{ post, updatedAtMs: state.updatedAtMs, entries: buildAllEntries(bucket, state), registers, members },
  };
  addHomes(full, bucket.homes.exchange.build(post, true));
  return full;
}

/** Leaves the field out of most posts. */
function addHomes(changes: PostChanges, homes: readonly HomeDelta[]): void {
  if (homes.length > 0) changes.homes = homes;
}

/** Divides members into subsets that fit in a message. */
export function splitMembers(metric: number, actors: readonly Key64[]): MembersDelta[] {
  const subsets = Math.max(1, Math.ceil(actors.length / MEMBERS_PER_SUBSET));
  if (subsets === 1) return [{ metric, subset: 0, subsets, actors }];
  const lists = Array.from({ length: subsets }, (): Key64[] => []);
  for (const actor of actors) lists[subsetOf(actor, subsets)]!.push(actor);
  return lists.map((list, subset) => ({ metric, subset, subsets, actors: list }));
}

/**
 * Starts an incarnation whose stamps are above `clock`. Registers with stamps of the previous incarnation at or below `clock` get new
 * ones, in their order, because peers would take the old stamps for updates that they have.
 * @param startedAtStamp of the previous incarnation
 */
export function restamp(bucket: ReplicatedBucket, startedAtStamp: number, clock: number): void {
  const { replication } = bucket;
  // Updates at or below the stable stamp are known everywhere and keep their stamps.
  const above = Math.max(startedAtStamp, replication.state.stableStamp);
  const registers = listAllRegisters(bucket).filter(
    ({ stamp }) => stamp > above && stamp <= clock && replication.isLocal(stamp),
  );
  replication.receive(clock);
  replication.state.startedAtStamp = replication.state.clock;
  assignStamps(bucket, registers);
}

/**
 * Starts an incarnation because the clock had run ahead: sets the clock back to `clock` and gives registers with later stamps new ones, in
 * their order, whichever region gave them. No count is lost. Does nothing if the clock is not ahead of `clock`.
 */
export function rewindClock(bucket: ReplicatedBucket, clock: number): void {
  const { replication } = bucket;
  if (replication.state.clock <= clock) return;
  const { stableStamp } = replication.state;
  const ahead = listAllRegisters(bucket).filter(({ stamp }) => stamp > clock);
  replication.rewindClock(clock);
  // Stable updates need no register: at the rewound stable stamp their registers are dropped.
  const stable = ahead.filter(({ stamp }) => stamp <= stableStamp);
  for (const { post, metric, actor } of stable)
    bucket.setRegisterStamp(post, metric, actor, Math.min(stableStamp, clock));
  assignStamps(
    bucket,
    ahead.filter(({ stamp }) => stamp > stableStamp),
  );
}

type PostRegister = ToggleRegister & { readonly post: string };

function listAllRegisters(bucket: ReplicatedBucket): PostRegister[] {
  return bucket
    .listPostsWithRegisters()
    .flatMap((post) => bucket.listRegisters(post).map((register) => ({ post, ...register })));
}

/** Gives the registers stamps above all earlier ones, as if batches had just updated the toggles. */
function assignStamps(bucket: ReplicatedBucket, registers: PostRegister[]): void {
  const { replication } = bucket;
  // Registers of one stamp may come in any order, as long as every store uses the same.
  registers.sort((a, b) => a.stamp - b.stamp || (toSortKey(a) < toSortKey(b) ? -1 : 1));
  let stamp = 0;
  for (const [i, { post, metric, actor }] of registers.entries()) {
    if (i % TOGGLES_PER_STAMP === 0) stamp = replication.now(0);
    bucket.setRegisterStamp(post, metric, actor, stamp);
    replication.recordToggle(post, metric, actor, stamp);
  }
}

function toSortKey({ post, metric, actor }: PostRegister): string {
  return `${post} ${metric} ${actor.hi} ${actor.lo}`;
}
