import { ACTOR_KEYS } from '../counters/ids.js';
import { Metrics } from '../counters/metrics.js';
import { optional, setting, type SettingGroup } from './setting-group.js';
import { integer, matching, oneOf, parsed } from './setting-values.js';

export const COUNTING = {
  title: 'Counting',
  settings: {
    METRICS: setting(
      parsed((value) => Metrics.parse(value), '`name:kind,…`'),
      'likes:toggle,views:tally',
      'What is counted; more may be added at the end, such as …,shares:tally,saves:toggle,readers:unique',
    ),
    COUNT_BOTS: setting(
      oneOf('true', 'false'),
      'false',
      'Whether views and other additions of crawlers and automated browsers are counted',
    ),
    TICK_MS: setting(integer(10, 60_000, 'ms'), '100', 'Least time between two updates of a post to a viewer'),
    LIVE: setting(
      oneOf('people', 'connections'),
      'people',
      'What live counts: each actor that watches a post once (people), or each connection',
    ),
    BUCKETS: setting(integer(1, 4096), '64', 'Shards of the posts; fixed for the lifetime of the data'),
    ACTOR_KEYS: setting(
      oneOf(...ACTOR_KEYS),
      'hash',
      'Actors have any name (hash), or are decimal int64 (int64); fixed for the lifetime of the data',
    ),
    ANONYMOUS_ACTORS: setting(
      oneOf('connection', 'address'),
      'connection',
      'Who a client without a name is: somebody else on each connection, or one actor a day for each address and browser',
    ),
    POST_SECRET: optional(
      matching(/^[!-~]{32,256}$/, '32 to 256 visible ASCII characters'),
      'Only posts whose ids are signed with this secret exist; fixed for the lifetime of the data',
    ),
  },
  notes: [
    '`METRICS` begins with `likes` and `views`, and has at most 16 metrics. On existing data none may be removed or reordered.',
    'A kind is `toggle`, `choice@GROUP`, `tally`, `unique` or `unique@WINDOW`, such as `unique@30m` ([protocol.md](protocol.md#kinds)). On existing data `toggle`, `choice@GROUP` and `unique` may replace each other, and so may `tally` and `unique@WINDOW` ([operations.md](operations.md#uniques-and-choices)).',
    'With `ACTOR_KEYS=int64` any other actor name is rejected.',
    '`ANONYMOUS_ACTORS=address` needs `TRUST_PROXY` behind a balancer. [operations.md](operations.md#visitors-without-a-name) describes it.',
    '[operations.md](operations.md#sign-the-ids-of-posts) describes how to sign ids.',
  ],
} satisfies SettingGroup;
