import type { Clock } from '../common/clock.js';
import type { PostCounts } from '../counters/batch.js';
import type { CopyPosition } from '../counters/changed-posts.js';
import type { PostMilestone } from '../counters/milestones.js';
import type { Metrics } from '../counters/metrics.js';
import type { MemberState } from '../store/change-store.js';

/** Posts of one bucket that a sink gets, and how far it is then. */
export interface BucketWrite {
  readonly bucket: number;
  /** The epoch of the bucket's current incarnation: of a post the higher (epoch, v) is right. */
  readonly epoch: number;
  /** Each post once. */
  readonly posts: readonly PostCounts[];
  /** Each member once, of posts that the sink has or gets with it; none unless the sink keeps members. */
  readonly members: readonly MemberState[];
  /** Milestones whose records are final. A sink may get one several times. */
  readonly milestones: readonly PostMilestone[];
  /** Posts of which the sink got every member since the full sync began: others that it has of them are gone in the store. */
  readonly postsWithAllMembers: readonly string[];
  /**
   * The sink's position once it has these posts. Within a full sync its `upTo` is NOT_SYNCED, so that another one begins if this one
   * ends early: the sink has posts then that are newer than the position before.
   */
  readonly position: CopyPosition;
  /** The sums of the bucket in the store at this position, see ChangePage; `null` if it had already changed again. */
  readonly sums: readonly number[] | null;
  /** Whether a full sync begins: what follows until its end is newer than all that the sink has of the bucket. */
  readonly startsFullSync: boolean;
  /**
   * Whether a full sync ends: the sink got every post of the store, with its epoch, even those that it had already. Its posts of
   * earlier epochs were lost there, with their members. Only now it is known what its counts add up to besides `sums`.
   */
  readonly endsFullSync: boolean;
}

/** How far a sink is. */
export interface SinkPosition extends CopyPosition {
  /**
   * Whether the last write had `sums`: the sink was the bucket at one instant. Else it may lack a post that changed before `upTo` and
   * again after it. If the later change is lost, the store does not name the post after `upTo` any more.
   */
  readonly isComplete: boolean;
}

/** A copy of the counts in another system. */
export interface Sink {
  /** In logs and metrics, without secrets. */
  readonly name: string;
  /** Whether it keeps its positions itself. Those that the store keeps may be lost with its last commits, and posts of the sink stay. */
  readonly keepsPositions: boolean;
  /** Whether it gets members, too: who has which toggle on. */
  readonly keepsMembers: boolean;

  /**
   * By bucket: how far the sink is. None for a bucket that follows the store whatever that has, because the sink is new or adopted it.
   * @throws SinkError
   */
  readPositions(): Promise<ReadonlyMap<number, SinkPosition>>;

  /**
   * Writes posts and positions together, if the sink can; else the posts first.
   * @param writes at most one of a bucket
   * @param mayWrite whether this gateway feeds the sink still. A sink that cannot recognize a gateway that was overtaken asks just before
   * it sends something, because the gateway may have been frozen until then
   * @returns false: another gateway has written since `readPositions`, which is to be called again; nothing was written
   * @throws SinkError; then it is unknown whether the sink has them
   */
  write(writes: readonly BucketWrite[], mayWrite: () => boolean): Promise<boolean>;

  /** Posts whose rows the system rejected, as far as this gateway knows; `undefined`: it rejects no single rows. */
  readonly deadCount?: number;

  /** How often this gateway had a row rejected, the same row each time; `undefined`: the system rejects no single rows. */
  readonly rejections?: number;

  /** Writes these rows again. @returns how many there were. @throws SinkError */
  retryDead?(): Promise<number>;

  /**
   * Makes the sink follow the store from now on, even if that has less: `readPositions` then returns no position, and the next writes
   * replace posts that are newer.
   * @throws SinkError
   */
  adopt(): Promise<void>;

  close(): Promise<void>;
}

/** Options that the sinks of a gateway have in common. */
export interface SinkOptions {
  /** One of SINK_URL. It may have a password: use `name` in messages. */
  readonly url: URL;
  readonly region: string;
  readonly buckets: number;
  readonly metrics: Metrics;
  /** SINK_MEMBERS: whether sinks that can keep members get them. */
  readonly sinkMembers: boolean;
  readonly clock: Clock;
  readonly warn: (message: string) => void;
}

type SinkErrorOptions = ErrorOptions & Partial<Pick<SinkError, 'pauseMs' | 'isTimeout'>>;

/** A sink that cannot be written now. */
export class SinkError extends Error {
  /** How long the sink wants to be left alone at least. */
  readonly pauseMs: number;
  /** Whether a write took too long, so that a smaller one may succeed. */
  readonly isTimeout: boolean;

  /** @param isConfiguration whether somebody has to change something before it goes on, as the message says */
  constructor(
    message: string,
    readonly isConfiguration: boolean,
    { pauseMs = 0, isTimeout = false, ...options }: SinkErrorOptions = {},
  ) {
    super(message, options);
    this.pauseMs = pauseMs;
    this.isTimeout = isTimeout;
  }
}
