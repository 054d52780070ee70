import type { Delta, DeltaAck } from '../../src/counters/replication/delta.js';
import type { BucketDigest, Difference, Peer } from '../../src/replication/transport/peer.js';
import type { RegionsWorld } from './regions-world.js';

const TIMEOUT_MS = 400;

type Region = RegionsWorld['regions'][number];

/** A link that loses requests and responses, delivers twice, and late. */
export class LossyPeer implements Peer {
  readonly region: string;

  constructor(
    private readonly world: RegionsWorld,
    private readonly from: Region,
    private readonly to: Region,
  ) {
    this.region = to.name;
  }

  async push(deltas: readonly Delta[]): Promise<readonly DeltaAck[]> {
    const { random, weather, clock } = this.world;
    if (random.chance(weather.divided ?? 0)) await this.push(deltas.map(withoutToggles));
    if (random.chance(weather.twice)) {
      clock.after(random.below(1_500), () => {
        if (!this.#isCut) void this.to.replicator.mergeFrom(this.from.name, deltas);
      });
    }
    return this.#call(() => this.to.replicator.mergeFrom(this.from.name, deltas));
  }

  compareDigests(digests: readonly BucketDigest[]): Promise<readonly Difference[]> {
    return this.#call(() => this.to.replicator.compareDigests(this.from.name, digests));
  }

  readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    return this.#call(() => this.to.replicator.readPosts(posts));
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    const { world } = this;
    const { random, weather } = world;
    if (this.#isCut || random.chance(weather.lost)) return this.#timeout();
    if (random.chance(weather.late)) await this.#pause(random.below(1_000));
    const answer = await call();
    if (world.isCut(this.to, this.from) || random.chance(weather.answerLost)) return this.#timeout();
    return answer;
  }

  get #isCut(): boolean {
    const { world, from, to } = this;
    return world.isCut(from, to) || world.blocked.has(`${from.name} ${to.name}`);
  }

  async #timeout(): Promise<never> {
    await this.#pause(TIMEOUT_MS);
    throw new Error('no answer in time');
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.world.clock.after(ms, resolve));
  }
}

/** The first part of a delta that is divided. */
function withoutToggles(delta: Delta): Delta {
  const posts = delta.posts.map((post) => ({ ...post, registers: [], members: [] }));
  const kind = delta.kind === 'full-sync-end' ? 'full-sync' : delta.kind;
  return { ...delta, kind, upTo: delta.after, fullSyncReceiver: null, posts };
}
