import { expect } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { Batch, PostCounts } from '../../src/counters/batch.js';
import { FEED_MAX } from '../../src/counters/replication/change-feed.js';
import { toWallMs } from '../../src/counters/replication/hybrid-clock.js';
import type { DeltaAck, Delta } from '../../src/counters/replication/delta.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import type { RedisReplication } from '../../src/store/redis/replication/redis-replication.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import type { ReferenceStore } from '../contract/reference-store.js';
import type { Random } from '../support/random.js';
import { type History, readAlike, sendAlike, type Shape } from './histories.js';
import { readAllPages, asRepair, plainFullSync, plainDelta } from './plain-deltas.js';
import { findFaults } from './redis-contents.js';

const READERS_MAX = 20;
/** Of all lives: what tells them apart is the epoch. */
export const NONCE = 7;

/** What the regions of a history are like. */
export interface Kind {
  readonly shape: Shape;
  readonly regions: number;
  /** Lives begin, too; then a batch says one word, for the order of several of one stamp is nobody's to tell. */
  readonly begins: boolean;
  /** Shipments are so large that a store may merge them in several steps, each of which makes a version. */
  readonly large: boolean;
}

/** A region twice: in Redis, and as it is meant. What one is given the other is given, too, and answers the same. */
export interface Region {
  readonly name: string;
  readonly client: Redis;
  readonly store: RedisStore;
  readonly regions: RedisReplication;
  /** Another one when the store has lost something. */
  reference: ReferenceStore;
  readonly history: History;
  /** By peer and bucket: the last receipt. */
  readonly receipts: Map<string, DeltaAck>;
  /** By bucket: how often its batches have said something of a toggle. */
  readonly togglesSaid: Map<number, number>;
  backup: { readonly contents: ReadonlyMap<string, Buffer>; readonly reference: ReferenceStore } | null;
}

/** Regions to which anything may happen, by chance: the same for the same seed. */
export class World {
  readonly #words = new WeakMap<Batch, Batch>();
  readonly #late: [to: Region, shipments: readonly Delta[]][] = [];

  constructor(
    readonly regions: readonly Region[],
    private readonly kind: Kind,
    private readonly random: Random,
  ) {}

  async step(): Promise<void> {
    const { random } = this;
    const from = random.pick(this.regions);
    const to = random.pick(this.regions.filter((region) => region !== from));
    const turn = random.next();
    if (turn < 0.45) await this.#commit(from);
    else if (turn < 0.76) await this.#ship(from, to);
    else if (turn < 0.82 && this.#late.length > 0) await this.#merge(...random.pick(this.#late));
    else if (turn < 0.88) await this.#scan(from, to);
    else if (turn < 0.9) await this.#show(from);
    else if (this.kind.begins) await this.#begin(from, to);
  }

  async check(): Promise<void> {
    for (const region of this.regions) {
      const { client, store, reference, history, name } = region;
      const posts = history.allPosts;
      await readAlike(this.#view(store), this.#view(reference), posts, history.actors.slice(0, READERS_MAX));
      await alike(region, (one) => allOf(one, this.kind.shape.buckets));
      expect([name, await findFaults(client, history, reference, true)]).toEqual([name, []]);
    }
  }

  async #commit({ store, reference, history, togglesSaid }: Region): Promise<void> {
    const batches = Array.from({ length: 1 + this.random.below(5) }, () => this.#worded(history.next()));
    for (const { bucket, operations } of batches) {
      const said = operations.filter(({ kind }) => kind === 'set').length;
      togglesSaid.set(bucket, (togglesSaid.get(bucket) ?? 0) + said);
    }
    await sendAlike(this.#view(store), this.#view(reference), batches, 0);
  }

  #view(store: CounterStore): Pick<CounterStore, 'commit' | 'read'> {
    return this.kind.large ? withoutVersions(store) : store;
  }

  /** The batch, or with one word of an actor at most. */
  #worded(batch: Batch): Batch {
    if (!this.kind.begins) return batch;
    let worded = this.#words.get(batch);
    if (worded === undefined) {
      const first = batch.operations.findIndex(({ kind }) => kind === 'set');
      const operations = batch.operations.filter(({ kind }, i) => kind !== 'set' || i === first);
      this.#words.set(batch, (worded = { ...batch, operations }));
    }
    return worded;
  }

  async #ship(from: Region, to: Region): Promise<void> {
    const { random } = this;
    const standings = await this.#standings(from);
    const asked = standings.map(({ epoch, nonce }, bucket) => {
      const upTo = (peer: Region): number => {
        const receipt = from.receipts.get(`${peer.name} ${bucket}`);
        return receipt?.epoch === epoch && receipt.nonce === nonce ? receipt.upTo : 0;
      };
      const ackedUpTo = Math.min(...this.#peersOf(from).map(upTo));
      return { bucket, after: upTo(to), ackedUpTo };
    });
    const peers = this.#peersOf(from).map(({ name }) => name);
    // What is passed on may have two marks in Redis, and is told twice if the limit falls between.
    const passesOn = from.backup !== null || this.regions.length > 2;
    const limit = !passesOn && random.chance(0.5) ? 1 + random.below(20) : 450;
    const meant = await from.reference.changesSince(asked, peers, limit);
    const found = await from.regions.changesSince(asked, peers, limit);
    for (const [i, shipment] of meant.entries()) {
      // Redis may know more: its feed counts only posts, and is not forgotten by a copy.
      if (shipment === null) continue;
      // Or less: its log has a toggle as often as it was said, and the reference only at its last word.
      if (found[i] === null && from.togglesSaid.get(i)! > FEED_MAX) continue;
      if (passesOn && Math.min(shipment.upTo, found[i]!.upTo) < standings[i]!.clock) continue;
      expect([from.name, found[i] && plainDelta(found[i])]).toEqual([from.name, plainDelta(shipment)]);
    }
    const shipments = meant.filter((one) => one !== null);
    if (random.chance(0.1)) this.#late.push([to, shipments]);
    if (random.chance(0.8)) await this.#merge(to, shipments, from);
    if (random.chance(0.1)) await this.#merge(to, shipments, from);
    if (meant.includes(null)) await this.#scan(from, to);
  }

  async #scan(from: Region, to: Region): Promise<void> {
    const { random } = this;
    const { buckets } = this.kind.shape;
    const some = new Set(Array.from({ length: buckets }, (_, bucket) => bucket).filter(() => random.chance(0.7)));
    if (some.size === 0) return;
    const own = await this.#standings(from);
    const theirs = await this.#standings(to);
    const lives = [...some].map((bucket) => [bucket, theirs[bucket]!] as const);
    await alike(from, (one) => one.observeIncarnations(to.name, lives));
    const limit = random.chance(0.5) ? 1 + random.below(20) : 500;
    const shipments: Delta[] = [];
    await alike(from, async (one) => {
      const pages = await readAllPages(one, some, limit);
      if (one === from.reference) shipments.push(...pages);
      return plainFullSync(pages);
    });
    const ends = [...some].map((bucket): Delta => {
      const { epoch, nonce, clock } = own[bucket]!;
      const about = shipments.find((one) => one.bucket === bucket);
      const source = { region: from.name, epoch, nonce };
      const none = { startedAtStamp: 0, predecessors: [], ackedUpTo: 0, stableStamp: 0, posts: [] };
      return {
        bucket,
        ...none,
        ...about,
        source,
        posts: [],
        kind: 'full-sync-end',
        after: clock,
        upTo: clock,
        fullSyncReceiver: theirs[bucket]!,
      };
    });
    if (random.chance(0.3))
      await this.#merge(
        to,
        shipments.map((one) => asRepair(one, random)),
        from,
      );
    else await this.#merge(to, shipments.concat(random.chance(0.8) ? ends : []), from);
  }

  async #show(from: Region): Promise<void> {
    const posts = from.history.allPosts.filter(() => this.random.chance(0.3));
    await alike(from, async (one) => (await one.readPosts(posts)).map(plainDelta));
  }

  async #begin(region: Region, peer: Region): Promise<void> {
    const { random } = this;
    const standings = await this.#standings(region);
    const bucket = random.below(standings.length);
    const { epoch, clock } = standings[bucket]!;
    const turn = random.next();
    if (turn < 0.2) {
      await this.#moveServer(region);
      region.reference.restart(0);
    } else if (turn < 0.4) {
      const rewindsClock = random.chance(0.3);
      const life = {
        epoch: rewindsClock ? epoch : epoch - random.below(2),
        clock: clock - random.below(20_000),
        needsBackfill: !rewindsClock && random.chance(0.5),
        rewindsClock,
      };
      await alike(region, (one) => one.startIncarnation([bucket], life));
    } else if (turn < 0.5) {
      await alike(region, (one) => one.completeBackfill([bucket]));
    } else if (turn < 0.7) {
      region.backup = { contents: await contentsOf(region.client), reference: region.reference.copy() };
    } else if (turn < 0.9) {
      await this.#lose(region, peer);
    } else {
      const life = { epoch: random.below(6), nonce: random.chance(0.9) ? NONCE : 8 };
      await alike(region, (one) => one.observeIncarnations(peer.name, [[bucket, life]]));
    }
    await this.#standings(region);
  }

  /** The store is what it was at its last backup, on another server. */
  async #lose(region: Region, peer: Region): Promise<void> {
    const { backup, client, history } = region;
    if (backup === null) return;
    await client.flushall();
    for (const [key, dump] of backup.contents) await client.restore(key, 0, dump);
    await this.#moveServer(region);
    region.reference = backup.reference.copy();
    region.reference.restart(0);
    history.restart();
    const all = Array.from({ length: this.kind.shape.buckets }, (_, bucket) => bucket);
    const life = { epoch: 0, clock: 0, needsBackfill: this.random.chance(0.7), rewindsClock: false };
    await alike(region, (one) => one.startIncarnation(all, life));
    await this.#scan(peer, region);
  }

  async #moveServer({ client }: Region): Promise<void> {
    for (let bucket = 0; bucket < this.kind.shape.buckets; bucket++) {
      await client.hset(`tc:{${bucket}}`, 'run_id', 'another server');
    }
  }

  async #merge(to: Region, shipments: readonly Delta[], from?: Region): Promise<void> {
    // A store may see a floor sooner than the reference does; what it gives stamps then would differ.
    const floorMs = toWallMs(Math.max(0, ...shipments.map(({ stableStamp: floor }) => floor)));
    await alike(to, (one) => one.acquireLeases(floorMs + 1));
    const receipts = await alike(to, (one) => one.merge(shipments));
    if (from !== undefined) for (const one of receipts) from.receipts.set(`${to.name} ${one.bucket}`, one);
    await this.#standings(to);
  }

  #standings(region: Region): ReturnType<ReplicatedStore['bucketStatus']> {
    const buckets = Array.from({ length: this.kind.shape.buckets }, (_, bucket) => bucket);
    return alike(region, async (one) => {
      return (await one.bucketStatus(buckets)).map((standing) => ({
        ...standing,
        syncedFrom: [...standing.syncedFrom].sort(),
      }));
    });
  }

  #peersOf(region: Region): Region[] {
    return this.regions.filter((one) => one !== region);
  }
}

function withoutVersions(store: CounterStore): Pick<CounterStore, 'commit' | 'read'> {
  const without = (counts: PostCounts): PostCounts => ({ ...counts, v: Math.min(counts.v, 1) });
  return {
    async commit(batch) {
      const result = await store.commit(batch);
      if (result.kind !== 'applied') return result;
      const counts = new Map([...result.counts].map(([post, told]) => [post, without(told)]));
      return { ...result, counts, changed: result.changed.map(without) };
    },
    async read(posts, actor) {
      return (await store.read(posts, actor)).map((view) => ({ ...view, counts: without(view.counts) }));
    },
  };
}

/** Asks both. @returns what they both have answered */
async function alike<T>(region: Region, ask: (store: ReplicatedStore) => Promise<T>): Promise<T> {
  const meant = await ask(region.reference);
  expect([region.name, await ask(region.regions)]).toEqual([region.name, meant]);
  return meant;
}

async function contentsOf(client: Redis): Promise<Map<string, Buffer>> {
  const contents = new Map<string, Buffer>();
  for (const key of await client.keys('*')) contents.set(key, await client.dumpBuffer(key));
  return contents;
}

async function allOf(store: ReplicatedStore, buckets: number): Promise<object> {
  return plainFullSync(await readAllPages(store, new Set(Array.from({ length: buckets }, (_, bucket) => bucket)), 500));
}
