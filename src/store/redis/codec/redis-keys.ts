/** Names of all keys and channels in Redis; drawn in docs/redis-keys.md. A bucket's have one hash tag, so one slot. */

/** The settings that the data was made with. */
export const CONFIG_KEY = 'tc:config';
/** Which gateway has a duty that one gateway of the deployment has at a time. */
export const LEASES_KEY = 'tc:leases';

/** Ends of the keys of a bucket, after those of its hash: by their names in scripts, which build most keys. */
export const BUCKET_KEYS = {
  PRODUCERS: ':producers',
  PREVIOUS_PRODUCERS: ':producers:previous',
  LOG_POSITIONS: ':log_positions',
  VIEWERS: ':viewers',
  PUBLISH_AFTER: ':publish_after',
  PUBLISH_DUE: ':publish_due',
  GATEWAYS: ':gateways',
  /** Followed by a gateway. */
  GATEWAY_VIEWERS: ':viewers:',
  PEOPLE: ':people',
  /** Followed by a gateway. */
  GATEWAY_PEOPLE: ':people:',
  /** Followed by a chunk. */
  POSTS: ':posts:',
  /** Followed by `generation:chunk`. */
  MARKS: ':marks:',
  /** Followed by `generation:chunk`. */
  VISIT_MARKS: ':visit_marks:',
  /** Followed by `metric:post:chunk`. */
  MEMBERS: ':members:',
  CHANGED_POSTS: ':changed_posts',
  MILESTONES: ':milestones',
  MILESTONE_RECORDS: ':milestone_records',
  PROVISIONAL_MILESTONES: ':provisional_milestones',
  HOMES: ':homes',
  UNSETTLED_HOMES: ':unsettled_homes',
  /** Followed by a generation. */
  FORWARD_MARKS: ':forward_marks:',
  CHANGE_FEED: ':changes',
  LOCAL_LOG: ':local_log',
  REMOTE_LOG: ':remote_log',
  /** Followed by a chunk. */
  REGISTERS: ':registers:',
  /** A channel, followed by a post. */
  COUNTS_CHANNEL: ':counts:',
} as const;

/** Fields of a bucket's hash, by their names in scripts; docs/redis-keys.md says what they hold. */
export const BUCKET_FIELDS = {
  EPOCH: 'epoch',
  NONCE: 'nonce',
  RUN_ID: 'run_id',
  SIZES: 'sizes',
  /** Followed by the number of a generation. */
  OLD_MARKS: 'old_marks:',
  OLDEST_MARKS: 'oldest_marks',
  VISIT_MARKS: 'visit_marks',
  /** Followed by the number of a generation. */
  OLD_VISIT_MARKS: 'old_visit_marks:',
  OLDEST_VISIT_MARKS: 'oldest_visit_marks',
  CHANGED_POSTS: 'changed_posts',
  CHANGED_POSTS_HISTORY: 'changed_posts_history',
  MILESTONES: 'milestones',
  HOMES: 'homes',
  FORWARD_MARKS: 'forward_marks',
  CLOCK: 'clock',
  REPLICATION: 'replication',
  VERSION_VECTOR: 'version_vector',
  INCARNATIONS: 'incarnations',
  LEASE: 'lease',
  LOCAL_LOG_WRITTEN: 'local_log_written',
  LOCAL_LOG_REMOVED: 'local_log_removed',
  REMOTE_LOG_WRITTEN: 'remote_log_written',
  REMOTE_LOG_REMOVED: 'remote_log_removed',
  REGISTERS: 'registers',
} as const;

export interface BucketKeys {
  /** The bucket's hash; scripts derive most other keys from it. */
  readonly bucket: string;
  readonly producers: string;
  readonly previousProducers: string;
  /** Up to where the events of logs are applied. */
  readonly logPositions: string;
  /** Viewers of posts over all gateways. */
  readonly viewers: string;
  /** Posts by the time when they may be published again. */
  readonly publishAfter: string;
  /** Posts that are due to be published. */
  readonly publishDue: string;
  readonly gateways: string;
  /** Viewers of posts at this gateway that count by their number. */
  readonly gatewayViewers: string;
  /** People at posts at this gateway. */
  readonly gatewayPeople: string;
}

export function buildBucketKeys(bucket: number, gateway: string): BucketKeys {
  const prefix = buildPrefix(bucket);
  return {
    bucket: prefix,
    producers: prefix + BUCKET_KEYS.PRODUCERS,
    previousProducers: prefix + BUCKET_KEYS.PREVIOUS_PRODUCERS,
    logPositions: prefix + BUCKET_KEYS.LOG_POSITIONS,
    viewers: prefix + BUCKET_KEYS.VIEWERS,
    publishAfter: prefix + BUCKET_KEYS.PUBLISH_AFTER,
    publishDue: prefix + BUCKET_KEYS.PUBLISH_DUE,
    gateways: prefix + BUCKET_KEYS.GATEWAYS,
    gatewayViewers: prefix + BUCKET_KEYS.GATEWAY_VIEWERS + gateway,
    gatewayPeople: prefix + BUCKET_KEYS.GATEWAY_PEOPLE + gateway,
  };
}

/** The positions of a copy of the counts in another system. */
export function buildPositionsKey(copy: string): string {
  return `tc:positions:${copy}`;
}

/** The secret of a UTC day such as 2026-11-30, from which the keys of visitors are derived. */
export function buildVisitorSecretKey(day: string): string {
  return `tc:visitor_secret:${day}`;
}

/** The channel on which a post's counts are published. */
export function buildCountsChannel(bucket: number, post: string): string {
  return buildPrefix(bucket) + BUCKET_KEYS.COUNTS_CHANNEL + post;
}

/** @returns the post of a channel that buildCountsChannel has built */
export function parseCountsChannel(channel: string): string {
  const { COUNTS_CHANNEL } = BUCKET_KEYS;
  return channel.slice(channel.indexOf(COUNTS_CHANNEL) + COUNTS_CHANNEL.length);
}

/** The hash tag puts all keys of a bucket into one slot. */
function buildPrefix(bucket: number): string {
  return `tc:{${bucket}}`;
}
