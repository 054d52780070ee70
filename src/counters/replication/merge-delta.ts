import { computeTotal, ensureMetricState } from '../bucket.js';
import type { Key64 } from '../ids.js';
import type { Metrics } from '../metrics.js';
import { recordReached } from '../milestone-records.js';
import type { Operation } from '../operation.js';
import { compareIncarnations, type CounterEntry, findEntry, mergeEntry } from '../pn-counter.js';
import { PostWorkingSet, type WorkingPost } from '../post-working-set.js';
import {
  type Delta,
  type DeltaAck,
  type EntryDelta,
  type MembersDelta,
  type MergeResult,
  type PostDelta,
  type RemoteToggle,
  subsetOf,
  type ToggleRegister,
} from './delta.js';
import { assertPossibleHomes } from './home-rules.js';
import { readRegionNumber, toRegionNumber, toWallMs } from './hybrid-clock.js';
import type { ReplicatedBucket } from './replicated-bucket.js';
import type { ReplicationState } from './replication-state.js';

/** Which incarnation replaces which: `compareIncarnations`. Tests plant other rules to see that they would be found. */
export type CompareIncarnations = typeof compareIncarnations;

/**
 * Merges a delta of another region into a bucket: the reference that every store must equal. Merging commutes and is idempotent, so
 * deltas may be lost, doubled and late.
 *
 *     entries    lexicographic by (epoch, nonce), then the larger P and N; entries of the own region are only compared
 *     registers  the later stamp wins. A toggle without a register here has every update up to `stableStamp`
 *     members    in a full sync they stand for registers at the source's stable stamp: the region whose stable stamp is higher is right;
 *                in a repair, of posts that are idle and stable at both ends, a member of one region becomes one of the other
 *
 * @throws ImpossibleHomeError before anything has changed
 *
 * Cost: one read and one write a post, two reads and two writes a register; for members in a full sync, all of the post's.
 */
export function mergeDelta(
  bucket: ReplicatedBucket,
  metrics: Metrics,
  delta: Delta,
  compare: CompareIncarnations = compareIncarnations,
): MergeResult {
  const { replication } = bucket;
  const { source } = delta;
  const entry = replication.versionVectorEntry(source.region);
  const isSame = compare(source, entry) === 'same';
  const order = compare(source, replication.latestIncarnation(source.region));
  const succeeds = isSame || delta.predecessors.some((before) => compare(before, entry) === 'same');
  const isRejected = order === 'older' || order === 'clash' || (!succeeds && delta.startedAtStamp < entry.upTo);
  const merging = new Merging(bucket, metrics, delta, compare);
  if (!isRejected) {
    assertPossibleHomes(bucket, delta.posts);
    replication.observeIncarnation(source.region, source);
    for (const post of delta.posts) merging.merge(post);
    updateVersionVector(bucket, delta, isSame);
    bucket.persistReplication();
  }
  const { changed } = merging.posts.write();
  return { ack: buildAck(bucket, delta, isRejected), changed, remoteToggles: merging.remoteToggles };
}

/** The bucket has nothing of a new incarnation until a full sync has ended. */
function updateVersionVector(bucket: ReplicatedBucket, delta: Delta, isSame: boolean): void {
  const { source, after, upTo, ackedUpTo, stableStamp, fullSyncReceiver } = delta;
  const { replication } = bucket;
  const { region, epoch, nonce } = source;
  const entry = replication.versionVectorEntry(region);
  const isFull = fullSyncReceiver !== null && compareIncarnations(fullSyncReceiver, bucket.incarnation) === 'same';
  if (isFull) {
    replication.markSynced(region);
    // Everything that was stable at the source when the full sync began is here now.
    replication.receive(stableStamp);
    replication.state.stableStamp = Math.max(replication.state.stableStamp, stableStamp);
  }
  if (!isFull && !isSame) return;
  const reached = isFull || after <= entry.upTo ? upTo : 0;
  replication.state.versionVector.set(region, {
    epoch,
    nonce,
    upTo: isSame ? Math.max(entry.upTo, reached) : reached,
    // A new incarnation may lack changes of other regions that the previous one had, so what that one knew to be acknowledged is void.
    ackedUpTo: isSame ? Math.max(entry.ackedUpTo, ackedUpTo) : Math.min(ackedUpTo, reached),
  });
}

function buildAck(
  { incarnation, replication }: ReplicatedBucket,
  { bucket, source }: Delta,
  incarnationRejected: boolean,
): DeltaAck {
  const { upTo, ...entry } = replication.versionVectorEntry(source.region);
  const { epoch, nonce } = incarnationRejected ? replication.latestIncarnation(source.region) : entry;
  const receiver = { epoch: incarnation.epoch, nonce: incarnation.nonce };
  const { backfilling, syncedFrom } = replication.state;
  const fullySynced = syncedFrom.includes(source.region);
  return { bucket, epoch, nonce, upTo, incarnationRejected, receiver, backfilling, fullySynced };
}

class Merging {
  readonly posts: PostWorkingSet;
  readonly remoteToggles: RemoteToggle[] = [];
  readonly #replication: ReplicationState;
  readonly #sourceNumber: number;

  constructor(
    private readonly bucket: ReplicatedBucket,
    private readonly metrics: Metrics,
    private readonly delta: Delta,
    private readonly compare: CompareIncarnations,
  ) {
    this.posts = new PostWorkingSet(bucket, metrics);
    this.#replication = bucket.replication;
    this.#sourceNumber = toRegionNumber(delta.source.region);
  }

  merge(delta: PostDelta): void {
    const { post: id, updatedAtMs, entries, registers, members, homes = [] } = delta;
    const post = this.posts.get(id);
    for (const entry of entries) this.#mergeEntry(id, post, entry);
    for (const register of registers) this.#mergeRegister(id, post, register);
    for (const one of members) this.#mergeMembers(delta, post, one);
    for (const home of homes) {
      this.bucket.homes.exchange.merge(id, home);
      post.mustExist = true;
    }
    if (post.changed) post.state.updatedAtMs = Math.max(post.state.updatedAtMs, updatedAtMs);
  }

  #mergeEntry(id: string, post: WorkingPost, { metric, incarnation, p, n }: EntryDelta): void {
    const { region } = incarnation;
    if (region === this.bucket.incarnation.region) {
      this.#mergeOwnEntry(id, post, metric, { incarnation, p, n });
      return;
    }
    if (!this.#replication.hasRoomFor(region)) return;
    // The region has sent what is left of earlier incarnations; the rest of their counts is lost there, and so it is here.
    const order = this.compare(incarnation, this.#replication.latestIncarnation(region));
    if (order === 'older' || order === 'clash') return;
    this.#replication.observeIncarnation(region, incarnation);
    const state = ensureMetricState(post.state, metric);
    const counter = mergeEntry(state.counter, { incarnation, p, n }, this.compare);
    if (counter === state.counter) return;
    const before = computeTotal(state);
    state.counter = counter;
    post.changed = true;
    const by = computeTotal(state) - before;
    if (by > 0) this.#reach(id, post, { metric, actor: null, kind: 'adjust', value: by });
  }

  /** A peer's copy of the own region's entry has nothing new, unless this store lost something. */
  #mergeOwnEntry(id: string, post: WorkingPost, metric: number, { incarnation, p, n }: CounterEntry): void {
    const { bucket } = this;
    const state = ensureMetricState(post.state, metric);
    const own = findEntry(state.counter, bucket.incarnation.region) ?? { p: 0, n: 0 };
    // An incarnation that is unknown here is found by the acks.
    if (this.compare(incarnation, bucket.incarnation) !== 'older' || (p === own.p && n === own.n)) return;
    const kept = this.#replication.state.backfilling ? { p: Math.max(p, own.p), n: Math.max(n, own.n) } : own;
    const entry = { incarnation: bucket.incarnation, p: kept.p, n: kept.n };
    state.counter = mergeEntry(state.counter, entry, () => 'newer');
    post.changed = true;
    // The peer needs the entry that counts now, even if it is 0.
    this.#replication.recordCount(id, this.#replication.now(0));
  }

  #mergeRegister(id: string, post: WorkingPost, { metric, actor, stamp, on }: ToggleRegister): void {
    const replication = this.#replication;
    replication.receive(stamp);
    if (!this.#isNews(id, metric, actor, stamp, on)) return;
    this.#setRegister(id, post, metric, actor, stamp, on);
    // The origin may have lost this update before replicating it everywhere, so forward it as a new change.
    if (readRegionNumber(stamp) !== this.#sourceNumber) {
      replication.recordToggle(id, metric, actor, replication.now(0));
    }
  }

  /** An incarnation whose clock was set back may give a stamp of a lost update again: of two updates with one stamp, `on` wins. */
  #isNews(id: string, metric: number, actor: Key64, stamp: number, on: boolean): boolean {
    if (stamp <= this.#replication.state.stableStamp) return false;
    const own = this.bucket.registerStamp(id, metric, actor);
    return stamp > own || (stamp === own && on && !this.bucket.hasMember(id, metric, actor));
  }

  /** Members are what the source has up to its stable stamp: they count where less is stable here. */
  #mergeMembers({ post: id, updatedAtMs, registers }: PostDelta, post: WorkingPost, theirs: MembersDelta): void {
    const { bucket, delta } = this;
    const { stableStamp } = delta;
    const { metric, subset, subsets } = theirs;
    if (stableStamp > this.#replication.state.stableStamp) this.#replication.receive(stableStamp);
    if (delta.kind === 'repair') this.#repairMembers(id, post, theirs, updatedAtMs);
    if (delta.kind === 'repair' || stableStamp <= this.#replication.state.stableStamp) return;
    const on = new Set(theirs.actors.map(toMapKey));
    const updated = new Set(registers.filter((one) => one.metric === metric).map(({ actor }) => toMapKey(actor)));
    for (const actor of bucket.listMembers(id, metric)) {
      const key = toMapKey(actor);
      if (subsetOf(actor, subsets) !== subset) continue;
      if (on.has(key) || updated.has(key) || this.#knownUpTo(id, metric, actor) >= stableStamp) continue;
      this.#setRegister(id, post, metric, actor, stableStamp, false);
    }
    for (const actor of theirs.actors) {
      if (bucket.hasMember(id, metric, actor) || this.#knownUpTo(id, metric, actor) >= stableStamp) continue;
      this.#setRegister(id, post, metric, actor, stableStamp, true);
    }
  }

  /**
   * Neither end has anything in flight, and everything that either has is stable: they differ because one of them lost something
   * without noticing. Nothing says which, and a like is kept rather than its removal. Of two options of a choice both keep the first one.
   */
  #repairMembers(id: string, post: WorkingPost, { metric, actors }: MembersDelta, updatedAtMs: number): void {
    const { stableStamp, after } = this.delta;
    if (stableStamp < after || Math.max(updatedAtMs, post.state.updatedAtMs) >= toWallMs(after)) return;
    for (const actor of actors) {
      const others = this.metrics.otherOptions[metric]!.filter((other) => this.bucket.hasMember(id, other, actor));
      const isStable = [metric, ...others].every(
        (one) => this.bucket.registerStamp(id, one, actor) <= this.#replication.state.stableStamp,
      );
      if (!isStable || others.some((other) => other < metric)) continue;
      for (const other of others) this.#setToggle(id, post, other, actor, false);
      this.#setToggle(id, post, metric, actor, true);
    }
  }

  /** The stamp up to which every update of the toggle is here. */
  #knownUpTo(id: string, metric: number, actor: Key64): number {
    return Math.max(this.bucket.registerStamp(id, metric, actor), this.#replication.state.stableStamp);
  }

  #setRegister(id: string, post: WorkingPost, metric: number, actor: Key64, stamp: number, on: boolean): void {
    this.bucket.setRegisterStamp(id, metric, actor, stamp);
    this.#setToggle(id, post, metric, actor, on);
  }

  #setToggle(id: string, post: WorkingPost, metric: number, actor: Key64, on: boolean): void {
    const { bucket } = this;
    post.mustExist = true;
    if (bucket.hasMember(id, metric, actor) === on) return;
    bucket.setMember(id, metric, actor, on);
    bucket.changedPosts?.recordMember(id, metric, actor);
    ensureMetricState(post.state, metric).members += on ? 1 : -1;
    post.changed = true;
    this.remoteToggles.push({ post: id, metric, actor, on });
    if (on) this.#reach(id, post, { metric, actor, kind: 'set', value: 1 });
  }

  /** In `order` what another region has counted is ordered when it is merged. */
  #reach(
    id: string,
    { state }: WorkingPost,
    { metric, ...update }: Pick<Operation, 'metric' | 'actor' | 'kind' | 'value'>,
  ): void {
    const { bucket } = this;
    if (bucket.milestones.isEmpty || bucket.milestones.get(id, metric)?.shared?.home?.mode !== 'order') return;
    const about = { v: state.v + 1, atMs: toWallMs(this.#replication.state.clock) };
    recordReached(bucket, id, metric, state, about, { ...update, session: null, seq: 0 });
  }
}

function toMapKey({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}
