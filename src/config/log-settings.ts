import { parseLogUrl } from './log-url.js';
import { optional, setting, type SettingGroup } from './setting-group.js';
import { integer, parsed } from './setting-values.js';

export const LOG = {
  title: 'Log of events',
  settings: {
    LOG_URL: optional(
      parsed(parseLogUrl, 'a URL, as below'),
      'Server that keeps events until they are counted: redis://, redis+sentinel:// (Redis 7.0 or later) or nats://',
    ),
    LOG_MAX: setting(integer(1_000, 100_000_000), '1000000', 'Events that the log holds; more are rejected'),
    LOG_MS: setting(integer(10, 60_000, 'ms'), '250', 'Least time between two reads of new events from the log'),
    LOG_KEEP_S: setting(
      integer(10, 86_400, 's'),
      '600',
      'How long counted events are kept, in case a failover of the store loses their counts',
    ),
  },
  notes: [
    '`LOG_URL` is `redis://[user:password@]host:port[/database]` or `redis+sentinel://h:p,h:p/master`; with TLS `rediss…`.',
    'With NATS it is `nats://[user:password@|token@]host[:port]?stream=NAME`, with TLS `nats+tls://…`: JetStream keeps the log in this stream and in `NAME_STATE`, which are created if they are missing.',
    'Use another server than that of `REDIS_URL`: events can then be accepted while the store is down.',
    '`ACK=replicated` holds for a log in Redis, too: events are accepted when a replica of it has them. In NATS the streams say how many replicas they have.',
    '[events.md](events.md#the-log) describes the log, and what happens when it is full or down.',
  ],
} satisfies SettingGroup;
