import { expect } from '@jest/globals';
import type { Batch, PostCounts } from '../../src/counters/batch.js';
import { FEED_MAX } from '../../src/counters/change-feed.js';
import { toWallMs } from '../../src/counters/replication/hybrid-clock.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import type { Random } from '../support/random.js';
import { readAlike, sendAlike } from './histories.js';
import { readAllPages, asRepair, normalizeFullSync, normalizeDelta } from './normalized-deltas.js';
import { RegionHomes } from './region-homes.js';
import type { Kind, Region } from './redis-region.js';
import { findFaults } from './redis-contents.js';
import { readContents, writeContents } from './redis-dumps.js';

const READERS_MAX = 20;
/** The nonce of all incarnations, which differ in the epoch. */
export const NONCE = 7;

/** Regions with random events: the same for the same seed. */
export class World {
  readonly #limited = new WeakMap<Batch, Batch>();
  readonly homes: RegionHomes;
  readonly #late: [to: Region, deltas: readonly Delta[]][] = [];

  constructor(
    readonly regions: readonly Region[],
    private readonly kind: Kind,
    private readonly random: Random,
  ) {
    this.homes = new RegionHomes(random);
  }

  async step(): Promise<void> {
    const { random } = this;
    const from = random.pick(this.regions);
    const to = random.pick(this.regions.filter((region) => region !== from));
    if (this.kind.homes === true && random.chance(0.3)) await this.homes.step(from);
    const turn = random.next();
    if (turn < 0.45) await this.#commit(from);
    else if (turn < 0.76) await this.#push(from, to);
    else if (turn < 0.82 && this.#late.length > 0) await this.#merge(...random.pick(this.#late));
    else if (turn < 0.88) await this.#fullSync(from, to);
    else if (turn < 0.9) await this.#readPosts(from);
    else if (this.kind.begins) await this.#begin(from, to);
    if (random.chance(0.5)) await from.copies?.step();
  }

  async check(): Promise<void> {
    for (const region of this.regions) {
      const { client, store, reference, history, name } = region;
      const posts = history.allPosts;
      await readAlike(this.#view(store), this.#view(reference), posts, history.actors.slice(0, READERS_MAX));
      await alike(region, (one) => allOf(one, this.kind.shape.buckets));
      expect([name, await findFaults(client, history, reference, true)]).toEqual([name, []]);
      await region.copies?.check();
      if (this.kind.homes === true) await this.homes.check(region);
    }
  }

  async #commit(region: Region): Promise<void> {
    const { store, reference, history, toggleCounts } = region;
    const batches = Array.from({ length: 1 + this.random.below(5) }, () =>
      this.#vary(this.#limitToggles(history.next())),
    );
    for (const { bucket, operations } of batches) {
      const updates = operations.filter(({ kind }) => kind === 'set').length;
      toggleCounts.set(bucket, (toggleCounts.get(bucket) ?? 0) + updates);
    }
    // A batch that reaches a milestone is sent again, after those that were sent with it.
    const groups = this.kind.homes === true ? batches.map((one) => [one]) : [batches];
    for (const group of groups) await sendAlike(this.#view(store), this.#view(reference), group, 0);
    if (this.kind.homes === true) for (const batch of batches) await this.homes.compareTargets(region, batch);
  }

  #vary(batch: Batch): Batch {
    return this.kind.homes === true ? this.homes.vary(batch) : batch;
  }

  #view(store: CounterStore): Pick<CounterStore, 'commit' | 'read'> {
    return this.kind.large ? withoutVersions(store) : store;
  }

  /** The batch, with at most one toggle update where incarnations start. */
  #limitToggles(batch: Batch): Batch {
    if (!this.kind.begins) return batch;
    let limited = this.#limited.get(batch);
    if (limited === undefined) {
      const first = batch.operations.findIndex(({ kind }) => kind === 'set');
      const operations = batch.operations.filter(({ kind }, i) => kind !== 'set' || i === first);
      this.#limited.set(batch, (limited = { ...batch, operations }));
    }
    return limited;
  }

  async #push(from: Region, to: Region): Promise<void> {
    const { random } = this;
    const statuses = await this.#statuses(from);
    const requests = statuses.map(({ epoch, nonce }, bucket) => {
      const upTo = (peer: Region): number => {
        const ack = from.acks.get(`${peer.name} ${bucket}`);
        return ack?.epoch === epoch && ack.nonce === nonce ? ack.upTo : 0;
      };
      const ackedUpTo = Math.min(...this.#peersOf(from).map(upTo));
      return { bucket, after: upTo(to), ackedUpTo };
    });
    const peers = this.#peersOf(from).map(({ name }) => name);
    // Forwarded changes may have two entries in the feed in Redis, and come twice if the limit falls between them.
    const passesOn = from.backup !== null || this.regions.length > 2;
    const limit = !passesOn && random.chance(0.5) ? 1 + random.below(20) : 450;
    const meant = await from.reference.changesSince(requests, peers, limit);
    const found = await from.regions.changesSince(requests, peers, limit);
    for (const [i, delta] of meant.entries()) {
      // Redis may have more: its feed counts only posts, and a copy keeps it.
      if (delta === null) continue;
      // Or less: its log has a toggle once an update, the reference only at its last update.
      if (found[i] === null && from.toggleCounts.get(i)! > FEED_MAX) continue;
      if (passesOn && Math.min(delta.upTo, found[i]!.upTo) < statuses[i]!.clock) continue;
      expect([from.name, found[i] && normalizeDelta(found[i])]).toEqual([from.name, normalizeDelta(delta)]);
    }
    const deltas = meant.filter((one) => one !== null);
    if (random.chance(0.1)) this.#late.push([to, deltas]);
    if (random.chance(0.8)) await this.#merge(to, deltas, from);
    if (random.chance(0.1)) await this.#merge(to, deltas, from);
    if (meant.includes(null)) await this.#fullSync(from, to);
  }

  async #fullSync(from: Region, to: Region): Promise<void> {
    const { random } = this;
    const { buckets } = this.kind.shape;
    const some = new Set(Array.from({ length: buckets }, (_, bucket) => bucket).filter(() => random.chance(0.7)));
    if (some.size === 0) return;
    const own = await this.#statuses(from);
    const theirs = await this.#statuses(to);
    const incarnations = [...some].map((bucket) => [bucket, theirs[bucket]!] as const);
    await alike(from, (one) => one.observeIncarnations(to.name, incarnations));
    const limit = random.chance(0.5) ? 1 + random.below(20) : 500;
    const deltas: Delta[] = [];
    await alike(from, async (one) => {
      const pages = await readAllPages(one, some, limit);
      if (one === from.reference) deltas.push(...pages);
      return normalizeFullSync(pages);
    });
    const ends = [...some].map((bucket): Delta => {
      const { epoch, nonce, clock } = own[bucket]!;
      const about = deltas.find((one) => one.bucket === bucket);
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
        deltas.map((one) => asRepair(one, random)),
        from,
      );
    else await this.#merge(to, deltas.concat(random.chance(0.8) ? ends : []), from);
  }

  async #readPosts(from: Region): Promise<void> {
    const posts = from.history.allPosts.filter(() => this.random.chance(0.3));
    await alike(from, async (one) => (await one.readPosts(posts)).map(normalizeDelta));
  }

  async #begin(region: Region, peer: Region): Promise<void> {
    const { random } = this;
    const statuses = await this.#statuses(region);
    const bucket = random.below(statuses.length);
    const { epoch, clock } = statuses[bucket]!;
    const turn = random.next();
    if (turn < 0.2) {
      await this.#moveServer(region);
      region.reference.restart(0);
    } else if (turn < 0.4) {
      const rewindsClock = random.chance(0.3);
      const incarnation = {
        epoch: rewindsClock ? epoch : epoch - random.below(2),
        clock: clock - random.below(20_000),
        needsBackfill: !rewindsClock && random.chance(0.5),
        rewindsClock,
      };
      await alike(region, (one) => one.startIncarnation([bucket], incarnation));
    } else if (turn < 0.5) {
      await alike(region, (one) => one.completeBackfill([bucket]));
    } else if (turn < 0.7) {
      const copies = region.copies?.backUp() ?? new Map();
      region.backup = { contents: await readContents(region.client), reference: region.reference.copy(), copies };
    } else if (turn < 0.9) {
      await this.#lose(region, peer);
    } else {
      const incarnation = { epoch: random.below(6), nonce: random.chance(0.9) ? NONCE : 8 };
      await alike(region, (one) => one.observeIncarnations(peer.name, [[bucket, incarnation]]));
    }
    await this.#statuses(region);
  }

  /** Restores the last backup of the store on another server. */
  async #lose(region: Region, peer: Region): Promise<void> {
    const { backup, client, history } = region;
    if (backup === null) return;
    await writeContents(client, backup.contents);
    await this.#moveServer(region);
    region.reference = backup.reference.copy();
    region.reference.restart(0);
    history.restart();
    region.copies?.startAgain(backup.copies);
    const all = Array.from({ length: this.kind.shape.buckets }, (_, bucket) => bucket);
    const incarnation = { epoch: 0, clock: 0, needsBackfill: this.random.chance(0.7), rewindsClock: false };
    await alike(region, (one) => one.startIncarnation(all, incarnation));
    await this.#fullSync(peer, region);
  }

  async #moveServer({ client }: Region): Promise<void> {
    for (let bucket = 0; bucket < this.kind.shape.buckets; bucket++) {
      await client.hset(`tc:{${bucket}}`, 'run_id', 'another server');
    }
  }

  async #merge(to: Region, deltas: readonly Delta[], from?: Region): Promise<void> {
    // A store may receive a stable stamp sooner than the reference does, and then give other stamps.
    const stableMs = toWallMs(Math.max(0, ...deltas.map(({ stableStamp }) => stableStamp)));
    await alike(to, (one) => one.acquireLeases(stableMs + 1));
    const acks = await alike(to, (one) => one.merge(deltas));
    if (from !== undefined) for (const one of acks) from.acks.set(`${to.name} ${one.bucket}`, one);
    await this.#statuses(to);
  }

  #statuses(region: Region): ReturnType<ReplicatedStore['bucketStatus']> {
    const buckets = Array.from({ length: this.kind.shape.buckets }, (_, bucket) => bucket);
    return alike(region, async (one) => {
      return (await one.bucketStatus(buckets)).map((status) => ({
        ...status,
        syncedFrom: [...status.syncedFrom].sort(),
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
      const counts = new Map([...result.counts].map(([post, now]) => [post, without(now)]));
      return { ...result, counts, changed: result.changed.map(without) };
    },
    async read(posts, actor) {
      return (await store.read(posts, actor)).map((view) => ({ ...view, counts: without(view.counts) }));
    },
  };
}

/** Calls both stores. @returns their common result */
async function alike<T>(region: Region, call: (store: ReplicatedStore) => Promise<T>): Promise<T> {
  const meant = await call(region.reference);
  expect([region.name, await call(region.regions)]).toEqual([region.name, meant]);
  return meant;
}

async function allOf(store: ReplicatedStore, buckets: number): Promise<object> {
  return normalizeFullSync(
    await readAllPages(store, new Set(Array.from({ length: buckets }, (_, bucket) => bucket)), 500),
  );
}
