import { type Bucket, metricState } from '../bucket.js';
import type { Key64 } from '../ids.js';
import type { Metrics } from '../metrics.js';
import { type Entry, entryOf, merge as mergeEntry, orderOf } from '../pn-counter.js';
import { type PostAtHand, PostsAtHand } from '../post-working-set.js';
import type { ReplicationState } from './replication-state.js';
import { regionNumber, regionNumberOf, wallMsOf } from './hybrid-clock.js';
import {
  type EntryShipment,
  type MembersShipment,
  type Merged,
  partOf,
  type PostShipment,
  type Receipt,
  type Register,
  type Shipment,
  type Toggled,
} from './delta.js';

/** Which life replaces which. There is one right answer; that it is right is tested against others. */
export type LifeOrder = typeof orderOf;

/**
 * What a shipment of another region does to a bucket: the reference that every store must equal. It commutes, and a second
 * time it changes nothing, so that shipments may be lost, doubled and late.
 *
 *     entries    lexicographic by (epoch, nonce), then the larger P and N; those of the own region are only looked at
 *     registers  the later stamp wins. Where a toggle has no register here, all up to `floor` is known of it already
 *     members    those of a scan stand for registers of the source's floor: the region whose floor is higher knows better;
 *                of posts that are quiet at both ends, and all is known of, whoever is a member in one region is one
 *
 * Cost: one read and one write a post, two reads and two writes a register; for members of a scan, all of the post's.
 */
export function merge(bucket: Bucket, metrics: Metrics, shipment: Shipment, order: LifeOrder = orderOf): Merged {
  const regional = bucket.regional!;
  const { source } = shipment;
  const known = regional.known(source.region);
  const sameLife = order(source, known) === 'same';
  const life = order(source, regional.heard(source.region));
  const goesOn = sameLife || shipment.goesOn.some((before) => order(before, known) === 'same');
  const refused = life === 'older' || life === 'clash' || (!goesOn && shipment.born < known.upTo);
  const merging = new Merging(bucket, metrics, shipment, order);
  if (!refused) {
    regional.hear(source.region, source);
    for (const post of shipment.posts) merging.merge(post);
    note(bucket, shipment, sameLife);
    bucket.regionalChanged();
  }
  const { changed } = merging.posts.write();
  return { receipt: receiptOf(bucket, shipment, refused), changed, toggled: merging.toggled };
}

/** What is here of the source from now on. Of a new life that is nothing before a scan has ended. */
function note(bucket: Bucket, shipment: Shipment, sameLife: boolean): void {
  const { source, after, upTo, confirmed, floor, shown } = shipment;
  const regional = bucket.regional!;
  const { region, epoch, nonce } = source;
  const known = regional.known(region);
  const whole = shown !== null && orderOf(shown, bucket.replica) === 'same';
  if (whole) {
    regional.told(region);
    // All that the source was certain of when the scan began is here now.
    regional.saw(floor);
    regional.state.floor = Math.max(regional.state.floor, floor);
  }
  if (!whole && !sameLife) return;
  const reaches = whole || after <= known.upTo ? upTo : 0;
  regional.state.known.set(region, {
    epoch,
    nonce,
    upTo: sameLife ? Math.max(known.upTo, reaches) : reaches,
    // A life whose clock came back from ahead is not confirmed by what others had of the one before.
    confirmed: sameLife
      ? Math.max(known.confirmed, confirmed)
      : Math.min(Math.max(known.confirmed, confirmed), reaches),
  });
}

function receiptOf({ replica, regional }: Bucket, { bucket, source }: Shipment, refused: boolean): Receipt {
  const { upTo, ...known } = regional!.known(source.region);
  const { epoch, nonce } = refused ? regional!.heard(source.region) : known;
  const receiver = { epoch: replica.epoch, nonce: replica.nonce };
  const { filling, toldBy } = regional!.state;
  return { bucket, epoch, nonce, upTo, refused, receiver, filling, told: toldBy.includes(source.region) };
}

class Merging {
  readonly posts: PostsAtHand;
  readonly toggled: Toggled[] = [];
  readonly #regional: ReplicationState;
  readonly #source: number;

  constructor(
    private readonly bucket: Bucket,
    metrics: Metrics,
    private readonly shipment: Shipment,
    private readonly order: LifeOrder,
  ) {
    this.posts = new PostsAtHand(bucket, metrics);
    this.#regional = bucket.regional!;
    this.#source = regionNumber(shipment.source.region);
  }

  merge({ post: id, updatedAtMs, entries, registers, members }: PostShipment): void {
    const post = this.posts.get(id);
    for (const entry of entries) this.#entry(id, post, entry);
    for (const register of registers) this.#register(id, post, register);
    for (const one of members) this.#members(id, post, one, registers);
    if (post.changed) post.state.updatedAtMs = Math.max(post.state.updatedAtMs, updatedAtMs);
  }

  #entry(id: string, post: PostAtHand, { metric, replica, p, n }: EntryShipment): void {
    if (replica.region === this.bucket.replica.region) {
      this.#own(id, post, metric, { replica, p, n });
      return;
    }
    if (!this.#regional.hasRoomFor(replica.region)) return;
    // What a life has counted that is over, and of which its region has told all that is left, is left out here, too.
    const life = this.order(replica, this.#regional.heard(replica.region));
    if (life === 'older' || life === 'clash') return;
    this.#regional.hear(replica.region, replica);
    const state = metricState(post.state, metric);
    const counter = mergeEntry(state.counter, { replica, p, n }, this.order);
    if (counter === state.counter) return;
    state.counter = counter;
    post.changed = true;
  }

  /** What others know of the own region's count: nothing new, unless this store has lost something. */
  #own(id: string, post: PostAtHand, metric: number, { replica, p, n }: Entry): void {
    const { bucket } = this;
    const state = metricState(post.state, metric);
    const own = entryOf(state.counter, bucket.replica.region) ?? { p: 0, n: 0 };
    const order = this.order(replica, bucket.replica);
    // Of a life that is not known here the receipts tell.
    if (order !== 'older' || (p === own.p && n === own.n)) return;
    const filled = this.#regional.state.filling ? { p: Math.max(p, own.p), n: Math.max(n, own.n) } : own;
    state.counter = mergeEntry(state.counter, { replica: bucket.replica, p: filled.p, n: filled.n }, () => 'newer');
    post.changed = true;
    // They are to hear what counts now, also where that is nothing.
    this.#regional.counted(id, this.#regional.stamp(0));
  }

  #register(id: string, post: PostAtHand, { metric, actor, stamp, on }: Register): void {
    this.#regional.saw(stamp);
    if (!this.#isNews(id, metric, actor, stamp, on)) return;
    this.#put(id, post, metric, actor, stamp, on);
    // Who said it may have lost it before all were told, and may have been told by all without it: it is passed on as if it were new.
    if (regionNumberOf(stamp) !== this.#source) this.#regional.toggled(id, metric, actor, this.#regional.stamp(0));
  }

  /** A life whose clock was set back may give a stamp that one before it gave, and that was lost: of such words `on` wins. */
  #isNews(id: string, metric: number, actor: Key64, stamp: number, on: boolean): boolean {
    if (stamp <= this.#regional.state.floor) return false;
    const known = this.bucket.register(id, metric, actor);
    return stamp > known || (stamp === known && on && !this.bucket.hasMember(id, metric, actor));
  }

  /** What the source knows for certain up to its floor, where less is certain here. */
  #members(id: string, post: PostAtHand, theirs: MembersShipment, registers: readonly Register[]): void {
    const { bucket, shipment } = this;
    const { floor } = shipment;
    const { metric, part, parts } = theirs;
    if (floor > this.#regional.state.floor) this.#regional.saw(floor);
    if (shipment.kind === 'quiet') this.#quietMembers(id, post, theirs);
    if (shipment.kind === 'quiet' || floor <= this.#regional.state.floor) return;
    const settled = new Set(theirs.actors.map(textOf));
    const told = new Set(registers.filter((one) => one.metric === metric).map(({ actor }) => textOf(actor)));
    for (const actor of bucket.members(id, metric)) {
      const text = textOf(actor);
      if (partOf(actor, parts) !== part) continue;
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
  #quietMembers(id: string, post: PostAtHand, { metric, actors }: MembersShipment): void {
    const { floor, after } = this.shipment;
    if (floor < after || post.state.updatedAtMs >= wallMsOf(after)) return;
    for (const actor of actors) {
      const isSettled = this.bucket.register(id, metric, actor) <= this.#regional.state.floor;
      if (isSettled) this.#set(id, post, metric, actor, true);
    }
  }

  #stampOf(id: string, metric: number, actor: Key64): number {
    return Math.max(this.bucket.register(id, metric, actor), this.#regional.state.floor);
  }

  #put(id: string, post: PostAtHand, metric: number, actor: Key64, stamp: number, on: boolean): void {
    this.bucket.setRegister(id, metric, actor, stamp);
    this.#set(id, post, metric, actor, on);
  }

  #set(id: string, post: PostAtHand, metric: number, actor: Key64, on: boolean): void {
    const { bucket } = this;
    post.named = true;
    if (bucket.hasMember(id, metric, actor) === on) return;
    bucket.setMember(id, metric, actor, on);
    metricState(post.state, metric).members += on ? 1 : -1;
    post.changed = true;
    this.toggled.push({ post: id, metric, actor, on });
  }
}

function textOf({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}
