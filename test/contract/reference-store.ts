import { NEVER, type Observable, Subject } from 'rxjs';
import { apply } from '../../src/counters/apply.js';
import type { Batch, CommitResult, PostCounts } from '../../src/counters/batch.js';
import { countsOf } from '../../src/counters/bucket.js';
import { bucketOf, type Key64 } from '../../src/counters/ids.js';
import type { Metrics } from '../../src/counters/metrics.js';
import type { Replica } from '../../src/counters/pn-counter.js';
import type { CounterStore, PostView } from '../../src/store/counter-store.js';
import { MemoryBucket } from './memory-bucket.js';

/** `apply` and nothing else: the meaning that every store has to equal. */
export class ReferenceStore implements CounterStore {
  readonly changes = new Subject<readonly PostCounts[]>();
  readonly returned: Observable<void> = NEVER;
  readonly available = true;
  readonly whole = true;
  #buckets: readonly MemoryBucket[];
  readonly #watched = new Set<string>();

  constructor(
    private readonly metrics: Metrics,
    buckets: number,
    private readonly replica: Replica,
  ) {
    this.#buckets = Array.from({ length: buckets }, () => new MemoryBucket(replica));
  }

  /** Another store with the same contents, watched by nobody. */
  copy(): ReferenceStore {
    const copy = new ReferenceStore(this.metrics, this.#buckets.length, this.replica);
    copy.#buckets = this.#buckets.map((bucket) => bucket.copy());
    return copy;
  }

  /** As a store does long after an incarnation's last batch. */
  forgetFences(): void {
    for (const bucket of this.#buckets) bucket.forgetFences();
  }

  commit(batch: Batch): Promise<CommitResult> {
    const result = apply(this.#buckets[batch.bucket]!, this.metrics, batch);
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
