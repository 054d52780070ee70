import type { MilestoneEvent } from '../../src/protocol/messages.js';
import type { Clock } from './environment.js';

/** The count of a metric first reached `n`, which an operator has armed on the gateway as a milestone. */
export interface Milestone extends Omit<MilestoneEvent, 'v'> {
  /** Whether an operation of this actor reached it. That is certain once `Post.milestones` says `final`. */
  readonly mine: boolean;
}

/** A milestone in the gateway's list. */
export interface ReachedMilestone {
  readonly n: number;
  /** The version of the post's counts that include the operation. */
  readonly v: number;
  /** RFC 3339 in UTC. */
  readonly at: string;
  /** False for some seconds, in which a failover of the gateway's store can still change who reached it. */
  readonly final: boolean;
  /** Set if no single operation reached it: then nobody did. */
  readonly missed?: true;
  /** Set if an operation of this actor reached it. */
  readonly mine?: true;
}

export interface MilestoneList {
  /** Counts that are not reached yet, ascending. */
  readonly armed: readonly number[];
  /** Ascending by `n`. */
  readonly reached: readonly ReachedMilestone[];
  /** Set where another region of the gateway may have armed counts that `armed` lacks. */
  readonly partial?: true;
}

/** The list is read three times at most if the gateway does not answer, this long apart. */
const RETRY_MS = 5_000;
const READS_MAX = 3;
/** This many are remembered as reported; a post has at most 64 a metric. */
const REPORTED_MAX = 1_000;

/** The two sources of milestones. */
interface MilestoneSources {
  /** @param answers settle with this page's operations so far: one of them may have reached it */
  receive(event: MilestoneEvent, answers: readonly Promise<unknown>[]): Promise<void>;
  /** An operation of this page reached a milestone. */
  readOwn(post: string, metric: string): void;
}

/**
 * Reports each milestone once. The gateway's event may be lost and names nobody, and the acknowledgement of this page's own
 * operation does not say which milestone it reached. The list says both, but only a page whose operation reached one reads
 * it: all viewers of a post at once would be too many.
 */
export function joinMilestones(
  clock: Clock,
  read: (post: string, metric: string) => Promise<MilestoneList>,
  report: (milestone: Milestone) => void,
): MilestoneSources {
  const reported = new Set<string>();
  let reading = Promise.resolve();
  /** @returns whether it was not reported before */
  const reportOnce = ({ post, metric, n, at }: Omit<MilestoneEvent, 'v'>, mine: boolean): boolean => {
    const key = [post, metric, n].join();
    if (reported.has(key)) return false;
    if (reported.size >= REPORTED_MAX) reported.clear();
    reported.add(key);
    report({ post, metric, n, at, mine });
    return true;
  };
  const readOwn = async (post: string, metric: string): Promise<void> => {
    for (let left = READS_MAX; left > 0; left--) {
      try {
        const { reached } = await read(post, metric);
        const news = reached.filter(({ n, at, mine }) => mine && reportOnce({ post, metric, n, at }, mine));
        if (news.length > 0) return;
        // Another region has decided, and its record is not here yet.
      } catch {
        // It is read again.
      }
      await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
    }
  };
  return {
    async receive(event, answers) {
      await Promise.allSettled(answers);
      await reading;
      reportOnce(event, false);
    },
    readOwn(post, metric) {
      reading = reading.then(() => readOwn(post, metric));
    },
  };
}
