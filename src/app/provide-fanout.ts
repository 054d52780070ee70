import type { Provider } from '@nestjs/common';
import { type CreationLimits, CreationLimiter } from '../access/creation-limiter.js';
import { SuspicionLog } from '../access/suspicion-log.js';
import type { Clock } from '../common/clock.js';
import { CLOCK, STORE } from '../config/injection-tokens.js';
import type { Settings } from '../config/settings.js';
import { Fanout } from '../fanout/fanout.js';
import { Presence } from '../fanout/presence.js';
import type { CounterStore } from '../store/counter-store.js';

/** Fan-out, and the limits on what is new, which know of watched posts. */
export function provideFanout(settings: Settings): Provider[] {
  const { live, metrics, tickMs } = settings;
  return [
    {
      provide: Presence,
      useFactory: (clock: Clock) => new Presence(clock, live === 'people'),
      inject: [CLOCK],
    },
    {
      provide: Fanout,
      useFactory: (store: CounterStore, presence: Presence, clock: Clock) =>
        new Fanout(store, presence, clock, metrics, tickMs),
      inject: [STORE, Presence, CLOCK],
    },
    {
      provide: CreationLimiter,
      useFactory: (clock: Clock, suspicions: SuspicionLog, fanout: Fanout) =>
        new CreationLimiter(creationLimits(settings), clock, suspicions, (post) => fanout.hasCounts(post)),
      inject: [CLOCK, SuspicionLog, Fanout],
    },
  ];
}

function creationLimits(settings: Settings): CreationLimits {
  const { jwt, maxOpsPerAddress, maxConnectionsPerAddress, maxPostsPerConnection, buckets, workers } = settings;
  return {
    postsPerMinute: settings.maxNewPostsPerAddress,
    // Actors that tokens name are exempt.
    actorsPerMinute: jwt === null || settings.guestMetrics.length > 0 ? settings.maxNewActorsPerAddress : 0,
    watchedMax: maxConnectionsPerAddress * maxPostsPerConnection,
    // Without a limit on operations, addresses are trusted.
    limitsMarks: maxOpsPerAddress > 0,
    buckets,
    workers,
  };
}
