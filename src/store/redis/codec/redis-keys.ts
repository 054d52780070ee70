/** Names of all keys and channels in Redis; drawn in docs/redis-keys.md. A bucket's have one hash tag, so one slot. */

/** What the data was made with. */
export const CONFIG_KEY = 'tc:config';

/** Ends of the keys of a bucket, after those of its hash: by their names in scripts, which build most keys. */
export const BUCKET_KEYS = {
  PRODUCERS: ':f',
  PREVIOUS_PRODUCERS: ':g',
  VIEWERS: ':l',
  PUBLISH_AFTER: ':t',
  PUBLISH_DUE: ':d',
  GATEWAYS: ':w',
  /** Followed by a gateway. */
  GATEWAY_VIEWERS: ':w:',
  /** Followed by a chunk. */
  POSTS: ':p',
  /** Followed by `generation:chunk`. */
  MARKS: ':m',
  /** Followed by `metric:post:chunk`. */
  MEMBERS: ':a',
  CHANGE_FEED: ':n',
  LOCAL_LOG: ':r',
  REMOTE_LOG: ':h',
  /** Followed by `segment:`, and a chunk or one of the next two. */
  REGISTERS: ':r',
  REGISTER_SETS: 's',
  REGISTER_NAMES: 'l',
  /** A channel, followed by a post. */
  COUNTS_CHANNEL: ':c:',
} as const;

/** Fields of a bucket's hash, by their names in scripts; docs/redis-keys.md says what they hold. */
export const BUCKET_FIELDS = {
  EPOCH: 'e',
  NONCE: 'o',
  RUN_ID: 'r',
  SIZES: 's',
  /** Followed by the number of a generation. */
  OLD_MARKS: 'k',
  OLDEST_MARKS: 'q',
  CLOCK: 'c',
  REPLICATION: 'x',
  VERSION_VECTOR: 'y',
  INCARNATIONS: 'v',
  LEASE: 'j',
  LOCAL_LOG_WRITTEN: 'w',
  LOCAL_LOG_REMOVED: 'u',
  REMOTE_LOG_WRITTEN: 'h',
  REMOTE_LOG_REMOVED: 'd',
  SEGMENTS: 'i',
} as const;

export interface BucketKeys {
  /** The bucket's hash; scripts derive the chunks of posts, members and marks from it. */
  readonly bucket: string;
  readonly producers: string;
  readonly previousProducers: string;
  /** Viewers of posts, summed over the gateways. */
  readonly viewers: string;
  /** When posts may be announced again. */
  readonly publishAfter: string;
  /** Posts that are due to be announced. */
  readonly publishDue: string;
  readonly gateways: string;
  /** The gateway's own shares of `viewers`. */
  readonly gatewayViewers: string;
}

export function buildBucketKeys(bucket: number, gateway: string): BucketKeys {
  const prefix = buildPrefix(bucket);
  return {
    bucket: prefix,
    producers: prefix + BUCKET_KEYS.PRODUCERS,
    previousProducers: prefix + BUCKET_KEYS.PREVIOUS_PRODUCERS,
    viewers: prefix + BUCKET_KEYS.VIEWERS,
    publishAfter: prefix + BUCKET_KEYS.PUBLISH_AFTER,
    publishDue: prefix + BUCKET_KEYS.PUBLISH_DUE,
    gateways: prefix + BUCKET_KEYS.GATEWAYS,
    gatewayViewers: prefix + BUCKET_KEYS.GATEWAY_VIEWERS + gateway,
  };
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
