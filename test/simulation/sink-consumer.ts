import type { PostCounts } from '../../src/counters/batch.js';
import type { PostMilestone } from '../../src/counters/milestones.js';
import type { BucketWrite, Sink } from '../../src/sinks/sink.js';
import type { PostReceiver } from '../../src/sinks/stored-positions.js';
import { writeMilestones } from './sink-milestones.js';
import type { UnreliableCall } from './unreliable-call.js';

/** Gets posts at least once and follows the rule of browsers: of the same `e` the higher `v` stays, another `e` replaces. */
export class SinkConsumer {
  readonly posts = new Map<string, PostCounts>();
  readonly milestones = new Map<string, PostMilestone>();

  receive({ posts, milestones }: Pick<BucketWrite, 'posts' | 'milestones'>): void {
    writeMilestones(this.milestones, milestones);
    for (const counts of posts) {
      const known = this.posts.get(counts.post);
      if (known?.e !== counts.e || known.v < counts.v) this.posts.set(counts.post, counts);
    }
  }
}

/** The consumer as one gateway sends to it. */
export function connectConsumer(consumer: SinkConsumer, call: UnreliableCall): PostReceiver {
  return {
    name: 'consumer',
    open: () => Promise.resolve(true),
    send: async (writes: readonly BucketWrite[]) => {
      if (writes.some(({ members }) => members.length > 0)) throw new Error('unwanted members');
      await call(() => {
        for (const write of writes) consumer.receive(write);
      });
      return true;
    },
    close: () => Promise.resolve(),
  };
}

/** A planted fault: takes the positions that the store keeps for those that the consumer has. */
export function trustPositions(sink: Sink): Sink {
  return {
    name: sink.name,
    keepsPositions: true,
    keepsMembers: false,
    readPositions: async () =>
      new Map([...(await sink.readPositions())].map(([bucket, one]) => [bucket, { ...one, isComplete: true }])),
    write: (writes, mayWrite) => sink.write(writes, mayWrite),
    adopt: () => sink.adopt(),
    close: () => sink.close(),
  };
}
