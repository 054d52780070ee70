/** Names of all keys and channels in Redis; drawn in docs/redis-keys.md. A bucket's have one hash tag, so one slot. */

/** What the data was made with. */
export const CONFIG_KEY = 'tc:config';

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
  const prefix = `tc:{${bucket}}`;
  return {
    bucket: prefix,
    producers: `${prefix}:f`,
    previousProducers: `${prefix}:g`,
    viewers: `${prefix}:l`,
    publishAfter: `${prefix}:t`,
    publishDue: `${prefix}:d`,
    gateways: `${prefix}:w`,
    gatewayViewers: `${prefix}:w:${gateway}`,
  };
}

/** On which a post's counts are announced. */
export function buildCountsChannel(bucket: number, post: string): string {
  return `tc:{${bucket}}:c:${post}`;
}

export function parseCountsChannel(channel: string): string {
  return channel.slice(channel.indexOf(':c:') + 3);
}
