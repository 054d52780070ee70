import {
  areNone,
  type BucketMilestones,
  isFinal,
  type Milestones,
  type PostMilestone,
  type ReachedMilestone,
} from '../../src/counters/milestones.js';

interface MetricMilestones {
  readonly post: string;
  readonly metric: number;
  readonly milestones: Milestones;
}

/** Milestones of a bucket in a Map. */
export class MemoryMilestones implements BucketMilestones {
  #metrics = new Map<string, MetricMilestones>();
  #armed = 0;
  /** Those that were reached since they were last taken. */
  #news: (MetricMilestones & { readonly reached: readonly ReachedMilestone[] })[] = [];

  /** @param nowMs the clock of the store @param isDurable whether no failover can lose a record any more, by this clock */
  constructor(
    readonly nowMs: () => number = () => 0,
    readonly isDurable: BucketMilestones['isDurable'] = (record) => isFinal(record, nowMs()),
  ) {}

  get isEmpty(): boolean {
    return this.#metrics.size === 0;
  }

  get armedCount(): number {
    return this.#armed;
  }

  get(post: string, metric: number): Milestones | undefined {
    return this.#metrics.get(`${metric} ${post}`)?.milestones;
  }

  set(post: string, metric: number, milestones: Milestones, reached: readonly ReachedMilestone[]): void {
    const key = `${metric} ${post}`;
    this.#armed += milestones.armed.length - (this.#metrics.get(key)?.milestones.armed.length ?? 0);
    if (areNone(milestones)) this.#metrics.delete(key);
    else this.#metrics.set(key, { post, metric, milestones });
    if (reached.length > 0) this.#news.push({ post, metric, milestones, reached });
  }

  takeNews(): { post: string; metric: number; n: number; v: number; atMs: number }[] {
    const news = this.#news;
    this.#news = [];
    return news.flatMap(({ post, metric, reached }) => reached.map(({ n, v, atMs }) => ({ post, metric, n, v, atMs })));
  }

  listReached(): PostMilestone[] {
    const all = [...this.#metrics.values()];
    return all.flatMap(({ post, metric, milestones }) => milestones.reached.map((one) => ({ post, metric, ...one })));
  }

  list(): Iterable<MetricMilestones> {
    return this.#metrics.values();
  }

  copy(): MemoryMilestones {
    const copy = new MemoryMilestones(this.nowMs, this.isDurable);
    copy.#metrics = new Map(this.#metrics);
    copy.#armed = this.#armed;
    return copy;
  }
}
