import { NEVER, type Observable, Subject } from 'rxjs';
import { apply, type Rights } from '../../src/counters/apply.js';
import type { Batch, CommitResult, PostCounts } from '../../src/counters/batch.js';
import { countsOf } from '../../src/counters/bucket.js';
import { bucketOf, type Key64 } from '../../src/counters/ids.js';
import { type LifeOrder, merge } from '../../src/counters/replication/merge-delta.js';
import type { Metrics } from '../../src/counters/metrics.js';
import { type Life, orderOf, type Replica, rightsOf } from '../../src/counters/pn-counter.js';
import { newState, ReplicationState } from '../../src/counters/replication/replication-state.js';
import { changesAfter, comeBack, emptyShipment, giveAnew, scanOf } from '../../src/counters/replication/build-delta.js';
import type { Receipt, Shipment, Toggled } from '../../src/counters/replication/delta.js';
import { stampOf } from '../../src/counters/replication/hybrid-clock.js';
import type { CounterStore, PostView } from '../../src/store/counter-store.js';
import type { Asked, BucketStanding, NewLife, ReplicatedStore, ScanPage } from '../../src/store/replicated-store.js';
import { MemoryBucket } from './memory-bucket.js';

/** `apply`, `merge` and what goes with them, and nothing else: the meaning that every store has to equal. */
export class ReferenceStore implements CounterStore, ReplicatedStore {
  readonly changes = new Subject<readonly PostCounts[]>();
  readonly toggled = new Subject<readonly Toggled[]>();
  readonly returned: Observable<void> = NEVER;
  readonly available = true;
  readonly whole = true;
  readonly replays = true;
  #buckets: readonly MemoryBucket[];
  readonly #watched = new Set<string>();

  constructor(
    private readonly metrics: Metrics,
    buckets: number,
    private readonly replica: Replica,
    /** With other regions: gives nonces of lives that begin. Without, there are none. */
    private readonly nonce: (() => number) | null = null,
    private readonly order: LifeOrder = orderOf,
    private readonly rights: Rights = rightsOf,
  ) {
    const regional = (): ReplicationState | null => nonce && new ReplicationState(replica.region, newState(0));
    this.#buckets = Array.from({ length: buckets }, () => new MemoryBucket(replica, regional()));
  }

  /** Another store with the same contents, watched by nobody. */
  copy(): ReferenceStore {
    const { metrics, replica, nonce, order, rights } = this;
    const copy = new ReferenceStore(metrics, this.#buckets.length, replica, nonce, order, rights);
    copy.#buckets = this.#buckets.map((bucket) => bucket.copy());
    return copy;
  }

  /** As a store does long after an incarnation's last batch. */
  forgetFences(): void {
    for (const bucket of this.#buckets) bucket.forgetFences();
  }

  commit(batch: Batch): Promise<CommitResult> {
    const result = apply(this.#buckets[batch.bucket]!, this.metrics, batch, this.rights);
    const changed = result.kind === 'applied' ? result.changed.filter(({ post }) => this.#watched.has(post)) : [];
    if (changed.length > 0) this.changes.next(changed);
    return Promise.resolve(result);
  }

  read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    return Promise.resolve(posts.map((post) => this.#view(post, actor)));
  }

  watch(post: string): void {
    this.#watched.add(post);
  }

  unwatch(post: string): void {
    this.#watched.delete(post);
  }

  share(): void {}

  lead(wallMs: number): Promise<readonly number[]> {
    for (const { regional } of this.#buckets) regional!.saw(stampOf(wallMs));
    return Promise.resolve(this.#buckets.map((_, number) => number));
  }

  standing(buckets: readonly number[]): Promise<readonly BucketStanding[]> {
    return Promise.resolve(
      buckets.map((number) => {
        const { replica, regional } = this.#buckets[number]!;
        const { clock, found, filling, toldBy } = regional!.state;
        return { epoch: replica.epoch, nonce: replica.nonce, clock, found, filling, toldBy };
      }),
    );
  }

  collect(asked: readonly Asked[], peers: readonly string[], limit: number): Promise<readonly (Shipment | null)[]> {
    return Promise.resolve(
      asked.map(({ bucket: number, after, confirmed }) => {
        const bucket = this.#buckets[number]!;
        bucket.regional!.settle(confirmed, peers);
        bucket.dropRegisters();
        return changesAfter(number, bucket, after, limit);
      }),
    );
  }

  hear(region: string, lives: readonly (readonly [bucket: number, life: Life])[]): Promise<readonly boolean[]> {
    return Promise.resolve(lives.map(([number, life]) => this.#buckets[number]!.regional!.tells(region, life)));
  }

  scan(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<ScanPage> {
    const [number = 0, at = 0] = cursor === '' ? [] : cursor.split(' ').map(Number);
    if (number >= this.#buckets.length) return Promise.resolve({ shipments: [], next: null });
    const bucket = this.#buckets[number]!;
    const posts = buckets.has(number) ? bucket.posts.slice(at, at + limit) : [];
    const next = posts.length < limit ? `${number + 1} 0` : `${number} ${at + limit}`;
    const shipment = emptyShipment('scan', number, bucket, 0);
    const shipped = posts.map((post) => scanOf(bucket, this.metrics, post));
    return Promise.resolve({ shipments: shipped.length > 0 ? [{ ...shipment, posts: shipped }] : [], next });
  }

  show(posts: readonly string[]): Promise<readonly Shipment[]> {
    return Promise.resolve(
      posts.map((post) => {
        const number = bucketOf(post, this.#buckets.length);
        const bucket = this.#buckets[number]!;
        const shown = { ...scanOf(bucket, this.metrics, post), members: [] };
        return { ...emptyShipment('scan', number, bucket, 0), posts: [shown] };
      }),
    );
  }

  merge(shipments: readonly Shipment[]): Promise<readonly Receipt[]> {
    return Promise.resolve(
      shipments.map((shipment) => {
        const { receipt, changed, toggled } = merge(
          this.#buckets[shipment.bucket]!,
          this.metrics,
          shipment,
          this.order,
        );
        const watched = changed.filter(({ post }) => this.#watched.has(post));
        if (watched.length > 0) this.changes.next(watched);
        if (toggled.length > 0) this.toggled.next(toggled);
        return receipt;
      }),
    );
  }

  begin(buckets: readonly number[], { epoch, clock, fills, comesBack }: NewLife): Promise<void> {
    for (const number of buckets) {
      const bucket = this.#buckets[number]!;
      const { replica } = bucket;
      const { state } = bucket.regional!;
      if (replica.epoch <= epoch) bucket.replica = { ...replica, epoch: epoch + 1, nonce: this.nonce!() };
      if (comesBack) comeBack(bucket, clock);
      else if (state.born < clock) giveAnew(bucket, state.born, clock);
      if (fills && !state.filling) state.filling = true;
      if (fills || replica !== bucket.replica) bucket.regional!.begin(replica);
    }
    return Promise.resolve();
  }

  filled(buckets: readonly number[]): Promise<void> {
    for (const number of buckets) {
      const { state } = this.#buckets[number]!.regional!;
      state.filling = false;
      state.found = state.clock;
    }
    return Promise.resolve();
  }

  get registersKept(): number {
    return this.#buckets.reduce((sum, bucket) => sum + bucket.registersKept, 0);
  }

  /** Stamp of the actor's last word. */
  registerOf(post: string, metric: number, actor: Key64): number {
    return this.#buckets[bucketOf(post, this.#buckets.length)]!.register(post, metric, actor);
  }

  /** As a store that was restarted, perhaps without what it did last, on a machine with this wall time. */
  restarted(wallMs: number): void {
    for (const bucket of this.#buckets) {
      const { replica } = bucket;
      bucket.replica = { ...replica, epoch: replica.epoch + 1, nonce: this.nonce!() };
      bucket.regional!.restart(replica, wallMs);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #view(post: string, actor: Key64 | null): PostView {
    const bucket = this.#buckets[bucketOf(post, this.#buckets.length)]!;
    let on = 0;
    for (const { kind, index } of this.metrics.list) {
      if (actor !== null && kind === 'toggle' && bucket.hasMember(post, index, actor)) on |= 1 << index;
    }
    return { counts: countsOf(post, bucket.epoch, bucket.post(post), this.metrics), on };
  }
}
