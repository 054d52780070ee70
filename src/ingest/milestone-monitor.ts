import type { Observable } from 'rxjs';
import type { Metrics } from '../counters/metrics.js';
import { DUPLICATE, type Operation, REACHED } from '../counters/operation.js';
import type { CommittedBatch } from './ingest-events.js';

/** Operations that were committed together, and what became of them. */
type Committed = Pick<CommittedBatch, 'outcomes' | 'counts'> & {
  readonly operations: readonly Pick<Operation, 'post' | 'metric'>[];
};

/** Reports operations of this gateway that reached a milestone. Cost: a comparison an operation. */
export class MilestoneMonitor {
  /** Since boot. A crossing that a failover lost counts again when it is found again. */
  operations = 0;

  constructor(
    committed: Observable<Committed>,
    private readonly metrics: Metrics,
    private readonly log: (message: string) => void,
  ) {
    committed.subscribe((batch) => {
      const { outcomes } = batch;
      for (let i = 0; i < outcomes.length; i++) {
        if ((outcomes[i]! & (REACHED | DUPLICATE)) === REACHED) this.#report(batch, i);
      }
    });
  }

  #report({ operations, counts }: Committed, index: number): void {
    const { post, metric } = operations[index]!;
    this.operations += 1;
    const { name } = this.metrics.list[metric]!;
    this.log(
      `${name} of post ${post} has reached a milestone; the count is ${counts.get(post)?.totals[metric] ?? 0} now`,
    );
  }
}
