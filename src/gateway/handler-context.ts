import type { BotFilter } from '../access/bot-filter.js';
import type { GuestPolicy } from '../access/guest-policy.js';
import type { PostSignatureVerifier } from '../access/post-signature-verifier.js';
import type { Clock } from '../common/clock.js';
import type { Metrics } from '../counters/metrics.js';
import type { Operation } from '../counters/operation.js';
import type { Fanout } from '../fanout/fanout.js';
import type { Presence } from '../fanout/presence.js';
import type { Ingest } from '../ingest/ingest.js';
import type { OperationCounts } from '../ingest/operation-counts.js';
import type { ReadBackpressure } from './read-backpressure.js';
import type { Subscriptions } from './subscriptions.js';

/** Everything that handlers of events use; the same for all connections. */
export interface HandlerContext {
  readonly subscriptions: Subscriptions;
  readonly ingest: Ingest;
  readonly backpressure: ReadBackpressure;
  readonly fanout: Fanout;
  readonly presence: Presence;
  readonly metrics: Metrics;
  /** By metric index: the operation of `view` and `add`. */
  readonly additions: readonly Operation['kind'][];
  /** By metric index: whether the event `set` takes it, so that acknowledgements have `on`. */
  readonly isSettable: readonly boolean[];
  readonly counts: OperationCounts;
  readonly clock: Clock;
  /** Stamps what is stored. */
  readonly dataClock: Clock;
  readonly bots: BotFilter;
  readonly guests: GuestPolicy;
  /** `null`: post ids are not signed. */
  readonly signatures: PostSignatureVerifier | null;
}
