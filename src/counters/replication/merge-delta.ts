import { ensureMetricState } from '../bucket.js';
import type { Key64 } from '../ids.js';
import type { Metrics } from '../metrics.js';
import { type CounterEntry, findEntry, mergeEntry, compareIncarnations } from '../pn-counter.js';
import { type WorkingPost, PostWorkingSet } from '../post-working-set.js';
import type { ReplicatedBucket } from './replicated-bucket.js';
import type { ReplicationState } from './replication-state.js';
import { toRegionNumber, readRegionNumber, toWallMs } from './hybrid-clock.js';
import {
  type EntryDelta,
  type MembersDelta,
  type MergeResult,
  subsetOf,
  type PostDelta,
  type DeltaAck,
  type ToggleRegister,
  type Delta,
  type RemoteToggle,
} from './delta.js';

/** Which life replaces which. There is one right answer; that it is right is tested against others. */
export type CompareIncarnations = typeof compareIncarnations;

/**
 * What a shipment of another region does to a bucket: the reference that every store must equal. It commutes, and a second
 * time it changes nothing, so that shipments may be lost, doubled and late.
 *
 *     entries    lexicographic by (epoch, nonce), then the larger P and N; those of the own region are only looked at
 *     registers  the later stamp wins. Where a toggle has no register here, all up to `stableStamp` is known of it already
 *     members    those of a scan stand for registers of the source's floor: the region whose floor is higher knows better;
 *                of posts that are quiet at both ends, and all is known of, whoever is a member in one region is one
 *
 * Cost: one read and one write a post, two reads and two writes a register; for members of a scan, all of the post's.
 */
export function mergeDelta(
  bucket: ReplicatedBucket,
  metrics: Metrics,
  delta: Delta,
  order: CompareIncarnations = compareIncarnations,
): MergeResult {
  const regional = bucket.replication;
  const { source } = delta;
  const known = regional.versionVectorEntry(source.region);
  const sameLife = order(source, known) === 'same';
  const life = order(source, regional.latestIncarnation(source.region));
  const goesOn = sameLife || delta.predecessors.some((before) => order(before, known) === 'same');
  const refused = life === 'older' || life === 'clash' || (!goesOn && delta.startedAtStamp < known.upTo);
  const merging = new Merging(bucket, metrics, delta, order);
  if (!refused) {
    regional.learnIncarnation(source.region, source);
    for (const post of delta.posts) merging.merge(post);
    note(bucket, delta, sameLife);
    bucket.persistReplication();
  }
  const { changed } = merging.posts.write();
  return { ack: receiptOf(bucket, delta, refused), changed, remoteToggles: merging.toggled };
}

/** What is here of the source from now on. Of a new life that is nothing before a scan has ended. */
function note(bucket: ReplicatedBucket, shipment: Delta, sameLife: boolean): void {
  const { source, after, upTo, ackedUpTo: confirmed, stableStamp: floor, fullSyncReceiver: shown } = shipment;
  const regional = bucket.replication;
  const { region, epoch, nonce } = source;
  const known = regional.versionVectorEntry(region);
  const whole = shown !== null && compareIncarnations(shown, bucket.incarnation) === 'same';
  if (whole) {
    regional.markSynced(region);
    // All that the source was certain of when the scan began is here now.
    regional.receive(floor);
    regional.state.stableStamp = Math.max(regional.state.stableStamp, floor);
  }
  if (!whole && !sameLife) return;
  const reaches = whole || after <= known.upTo ? upTo : 0;
  regional.state.versionVector.set(region, {
    epoch,
    nonce,
    upTo: sameLife ? Math.max(known.upTo, reaches) : reaches,
    // A life whose clock came back from ahead is not confirmed by what others had of the one before.
    ackedUpTo: sameLife
      ? Math.max(known.ackedUpTo, confirmed)
      : Math.min(Math.max(known.ackedUpTo, confirmed), reaches),
  });
}

function receiptOf(
  { incarnation: replica, replication: regional }: ReplicatedBucket,
  { bucket, source }: Delta,
  refused: boolean,
): DeltaAck {
  const { upTo, ...known } = regional.versionVectorEntry(source.region);
  const { epoch, nonce } = refused ? regional.latestIncarnation(source.region) : known;
  const receiver = { epoch: replica.epoch, nonce: replica.nonce };
  const { backfilling: filling, syncedFrom: toldBy } = regional.state;
  return {
    bucket,
    epoch,
    nonce,
    upTo,
    incarnationRejected: refused,
    receiver,
    backfilling: filling,
    fullySynced: toldBy.includes(source.region),
  };
}

class Merging {
  readonly posts: PostWorkingSet;
  readonly toggled: RemoteToggle[] = [];
  readonly #regional: ReplicationState;
  readonly #source: number;

  constructor(
    private readonly bucket: ReplicatedBucket,
    metrics: Metrics,
    private readonly shipment: Delta,
    private readonly order: CompareIncarnations,
  ) {
    this.posts = new PostWorkingSet(bucket, metrics);
    this.#regional = bucket.replication;
    this.#source = toRegionNumber(shipment.source.region);
  }

  merge({ post: id, updatedAtMs, entries, registers, members }: PostDelta): void {
    const post = this.posts.get(id);
    for (const entry of entries) this.#entry(id, post, entry);
    for (const register of registers) this.#register(id, post, register);
    for (const one of members) this.#members(id, post, one, registers);
    if (post.changed) post.state.updatedAtMs = Math.max(post.state.updatedAtMs, updatedAtMs);
  }

  #entry(id: string, post: WorkingPost, { metric, incarnation: replica, p, n }: EntryDelta): void {
    if (replica.region === this.bucket.incarnation.region) {
      this.#own(id, post, metric, { incarnation: replica, p, n });
      return;
    }
    if (!this.#regional.hasRoomFor(replica.region)) return;
    // What a life has counted that is over, and of which its region has told all that is left, is left out here, too.
    const life = this.order(replica, this.#regional.latestIncarnation(replica.region));
    if (life === 'older' || life === 'clash') return;
    this.#regional.learnIncarnation(replica.region, replica);
    const state = ensureMetricState(post.state, metric);
    const counter = mergeEntry(state.counter, { incarnation: replica, p, n }, this.order);
    if (counter === state.counter) return;
    state.counter = counter;
    post.changed = true;
  }

  /** What others know of the own region's count: nothing new, unless this store has lost something. */
  #own(id: string, post: WorkingPost, metric: number, { incarnation: replica, p, n }: CounterEntry): void {
    const { bucket } = this;
    const state = ensureMetricState(post.state, metric);
    const own = findEntry(state.counter, bucket.incarnation.region) ?? { p: 0, n: 0 };
    const order = this.order(replica, bucket.incarnation);
    // Of a life that is not known here the receipts tell.
    if (order !== 'older' || (p === own.p && n === own.n)) return;
    const filled = this.#regional.state.backfilling ? { p: Math.max(p, own.p), n: Math.max(n, own.n) } : own;
    state.counter = mergeEntry(
      state.counter,
      { incarnation: bucket.incarnation, p: filled.p, n: filled.n },
      () => 'newer',
    );
    post.changed = true;
    // They are to hear what counts now, also where that is nothing.
    this.#regional.recordCount(id, this.#regional.now(0));
  }

  #register(id: string, post: WorkingPost, { metric, actor, stamp, on }: ToggleRegister): void {
    this.#regional.receive(stamp);
    if (!this.#isNews(id, metric, actor, stamp, on)) return;
    this.#put(id, post, metric, actor, stamp, on);
    // Who said it may have lost it before all were told, and may have been told by all without it: it is passed on as if it were new.
    if (readRegionNumber(stamp) !== this.#source) this.#regional.recordToggle(id, metric, actor, this.#regional.now(0));
  }

  /** A life whose clock was set back may give a stamp that one before it gave, and that was lost: of such words `on` wins. */
  #isNews(id: string, metric: number, actor: Key64, stamp: number, on: boolean): boolean {
    if (stamp <= this.#regional.state.stableStamp) return false;
    const known = this.bucket.registerStamp(id, metric, actor);
    return stamp > known || (stamp === known && on && !this.bucket.hasMember(id, metric, actor));
  }

  /** What the source knows for certain up to its floor, where less is certain here. */
  #members(id: string, post: WorkingPost, theirs: MembersDelta, registers: readonly ToggleRegister[]): void {
    const { bucket, shipment } = this;
    const { stableStamp: floor } = shipment;
    const { metric, subset: part, subsets: parts } = theirs;
    if (floor > this.#regional.state.stableStamp) this.#regional.receive(floor);
    if (shipment.kind === 'repair') this.#quietMembers(id, post, theirs);
    if (shipment.kind === 'repair' || floor <= this.#regional.state.stableStamp) return;
    const settled = new Set(theirs.actors.map(textOf));
    const told = new Set(registers.filter((one) => one.metric === metric).map(({ actor }) => textOf(actor)));
    for (const actor of bucket.listMembers(id, metric)) {
      const text = textOf(actor);
      if (subsetOf(actor, parts) !== part) continue;
      if (settled.has(text) || told.has(text) || this.#stampOf(id, metric, actor) >= floor) continue;
      this.#put(id, post, metric, actor, floor, false);
    }
    for (const actor of theirs.actors) {
      if (bucket.hasMember(id, metric, actor) || this.#stampOf(id, metric, actor) >= floor) continue;
      this.#put(id, post, metric, actor, floor, true);
    }
  }

  /**
   * Both ends have nothing on its way, and all of what they have was heard by all: they differ since one has lost something
   * without notice. Nothing tells which of them; a like is kept rather than its end.
   */
  #quietMembers(id: string, post: WorkingPost, { metric, actors }: MembersDelta): void {
    const { stableStamp: floor, after } = this.shipment;
    if (floor < after || post.state.updatedAtMs >= toWallMs(after)) return;
    for (const actor of actors) {
      const isSettled = this.bucket.registerStamp(id, metric, actor) <= this.#regional.state.stableStamp;
      if (isSettled) this.#set(id, post, metric, actor, true);
    }
  }

  #stampOf(id: string, metric: number, actor: Key64): number {
    return Math.max(this.bucket.registerStamp(id, metric, actor), this.#regional.state.stableStamp);
  }

  #put(id: string, post: WorkingPost, metric: number, actor: Key64, stamp: number, on: boolean): void {
    this.bucket.setRegisterStamp(id, metric, actor, stamp);
    this.#set(id, post, metric, actor, on);
  }

  #set(id: string, post: WorkingPost, metric: number, actor: Key64, on: boolean): void {
    const { bucket } = this;
    post.mustExist = true;
    if (bucket.hasMember(id, metric, actor) === on) return;
    bucket.setMember(id, metric, actor, on);
    ensureMetricState(post.state, metric).members += on ? 1 : -1;
    post.changed = true;
    this.toggled.push({ post: id, metric, actor, on });
  }
}

function textOf({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}
