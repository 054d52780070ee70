import type { Bucket, PostState } from '../bucket.js';
import type { Key64 } from '../ids.js';
import type { Metrics } from '../metrics.js';
import { entryOf } from '../pn-counter.js';
import {
  type EntryShipment,
  type MembersShipment,
  partOf,
  type PostShipment,
  type Register,
  type Shipment,
} from './delta.js';

/** 8 bytes each. */
const MEMBERS_A_PART = 10_000;
/** As if a batch had said them. */
const WORDS_A_STAMP = 500;

/** A post while its changes are put together. */
interface Changes extends PostShipment {
  entries: readonly EntryShipment[];
  registers: Register[];
}

/** One for all that have none. */
const NOTHING: never[] = [];

/** What a region knows of itself goes out as of its present life, whichever life has counted it: see `increment`. */
function ownEntries({ replica }: Bucket, state: PostState): EntryShipment[] {
  const entries: EntryShipment[] = [];
  for (const [metric, { counter }] of state.metrics.entries()) {
    const own = entryOf(counter, replica.region);
    if (own !== undefined) entries.push({ metric, replica, p: own.p, n: own.n });
  }
  return entries;
}

function allEntries(bucket: Bucket, state: PostState): EntryShipment[] {
  const foreign = state.metrics.flatMap(({ counter }, metric) =>
    counter
      .filter(({ replica }) => replica.region !== bucket.replica.region)
      .map(({ replica, p, n }) => ({ metric, replica, p, n })),
  );
  return [...ownEntries(bucket, state), ...foreign];
}

/** A shipment that says nothing but what the receiver is asked to confirm. */
export function emptyShipment(kind: Shipment['kind'], number: number, bucket: Bucket, after: number): Shipment {
  const { born, goesOn, confirmed, floor } = bucket.regional!.state;
  const { replica: source } = bucket;
  return { kind, bucket: number, source, born, goesOn, after, upTo: after, confirmed, floor, posts: [], shown: null };
}

/**
 * What was changed here after a stamp, newest state only; `null` if that is not known any more: it has to be scanned for.
 * @param limit about this many marks
 */
export function changesAfter(number: number, bucket: Bucket, after: number, limit: number): Shipment | null {
  const regional = bucket.regional!;
  const { feed, state } = regional;
  if (after < feed.droppedUpTo) return null;
  const { marks, upTo } = feed.after(after, limit);
  const posts = new Map<string, Changes>();
  for (const { post, metric, actor } of marks) {
    let changes = posts.get(post);
    if (changes === undefined) {
      const updatedAtMs = bucket.post(post)?.updatedAtMs ?? 0;
      posts.set(post, (changes = { post, updatedAtMs, entries: NOTHING, registers: NOTHING, members: NOTHING }));
    }
    if (actor === null) changes.entries = ownEntries(bucket, bucket.post(post)!);
    else {
      const stamp = bucket.register(post, metric, actor);
      // Else all know.
      if (stamp > state.floor) {
        if (changes.registers === NOTHING) changes.registers = [];
        changes.registers.push({ metric, actor, stamp, on: bucket.hasMember(post, metric, actor) });
      }
    }
  }
  return {
    ...emptyShipment('changes', number, bucket, after),
    upTo: upTo ?? Math.max(state.clock, after),
    posts: [...posts.values()],
  };
}

/** All that is known of a post here, whoever counted it. */
export function scanOf(bucket: Bucket, metrics: Metrics, post: string): PostShipment {
  const state = bucket.post(post) ?? { v: 0, updatedAtMs: 0, metrics: [] };
  const { floor } = bucket.regional!.state;
  const registers = bucket.registers(post).filter(({ stamp }) => stamp > floor);
  const stamped = new Set(registers.map(({ metric, actor }) => `${metric} ${actor.hi} ${actor.lo}`));
  const hasRegister = (metric: number, { hi, lo }: Key64): boolean => stamped.has(`${metric} ${hi} ${lo}`);
  const members = metrics.list.flatMap(({ kind, index: metric }) => {
    if (kind !== 'toggle') return [];
    return inParts(
      metric,
      bucket.members(post, metric).filter((actor) => !hasRegister(metric, actor)),
    );
  });
  return { post, updatedAtMs: state.updatedAtMs, entries: allEntries(bucket, state), registers, members };
}

/** What one message can carry. */
export function inParts(metric: number, actors: readonly Key64[]): MembersShipment[] {
  const parts = Math.max(1, Math.ceil(actors.length / MEMBERS_A_PART));
  if (parts === 1) return [{ metric, part: 0, parts, actors }];
  const lists = Array.from({ length: parts }, (): Key64[] => []);
  for (const actor of actors) lists[partOf(actor, parts)]!.push(actor);
  return lists.map((list, part) => ({ metric, part, parts, actors: list }));
}

/**
 * The bucket has begun another life, whose stamps are to be above `clock`: those that the life before has given at or below
 * it are given again, in their order, because others would take them for what they have.
 * @param born of the life before
 */
export function giveAnew(bucket: Bucket, born: number, clock: number): void {
  const regional = bucket.regional!;
  // Of what all have heard nobody doubts the stamps.
  const above = Math.max(born, regional.state.floor);
  const given = registersOf(bucket).filter(({ stamp }) => stamp > above && stamp <= clock && regional.gave(stamp));
  regional.saw(clock);
  regional.state.born = regional.state.clock;
  giveStamps(bucket, given);
}

/**
 * The bucket has begun another life because its clock had run ahead: the clock goes back to `clock`, and what actors have said after it
 * is given again, in its order, whoever gave it. No count is lost. Does nothing where the clock is not ahead of that.
 */
export function comeBack(bucket: Bucket, clock: number): void {
  const regional = bucket.regional!;
  if (regional.state.clock <= clock) return;
  const { floor } = regional.state;
  const ahead = registersOf(bucket).filter(({ stamp }) => stamp > clock);
  regional.comeBack(clock);
  // What all have heard needs no register: at the floor, as it now is, they are dropped.
  const heard = ahead.filter(({ stamp }) => stamp <= floor);
  for (const { post, metric, actor } of heard) bucket.setRegister(post, metric, actor, Math.min(floor, clock));
  giveStamps(
    bucket,
    ahead.filter(({ stamp }) => stamp > floor),
  );
}

type PostRegister = Register & { readonly post: string };

function registersOf(bucket: Bucket): PostRegister[] {
  return bucket.postsWithRegisters().flatMap((post) => bucket.registers(post).map((one) => ({ post, ...one })));
}

/** Stamps above all that there were, as if batches had said it. */
function giveStamps(bucket: Bucket, given: PostRegister[]): void {
  const regional = bucket.regional!;
  // Of one stamp in any order, as long as it is the same in every store.
  given.sort((a, b) => a.stamp - b.stamp || (textOf(a) < textOf(b) ? -1 : 1));
  let stamp = 0;
  for (const [i, { post, metric, actor }] of given.entries()) {
    if (i % WORDS_A_STAMP === 0) stamp = regional.stamp(0);
    bucket.setRegister(post, metric, actor, stamp);
    regional.toggled(post, metric, actor, stamp);
  }
}

function textOf({ post, metric, actor }: PostRegister): string {
  return `${post} ${metric} ${actor.hi} ${actor.lo}`;
}
