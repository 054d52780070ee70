/** Names of all keys and channels in Redis; drawn in docs/redis-keys.md. A bucket's have one hash tag, so one slot. */

/** What the data was made with. */
export const CONFIG_KEY = 'tc:config';

export interface BucketKeys {
  /** The bucket's hash; scripts derive the chunks of posts, members and marks from it. */
  readonly bucket: string;
  readonly fences: string;
  readonly fencesBefore: string;
  /** Viewers of posts, summed over the gateways. */
  readonly live: string;
  /** When posts may be announced again. */
  readonly pace: string;
  /** Posts that are due to be announced. */
  readonly due: string;
  readonly leases: string;
  /** The gateway's own shares of `live`. */
  readonly shares: string;
}

export function keysOf(bucket: number, gateway: string): BucketKeys {
  const prefix = `tc:{${bucket}}`;
  return {
    bucket: prefix,
    fences: `${prefix}:f`,
    fencesBefore: `${prefix}:g`,
    live: `${prefix}:l`,
    pace: `${prefix}:t`,
    due: `${prefix}:d`,
    leases: `${prefix}:w`,
    shares: `${prefix}:w:${gateway}`,
  };
}

/** On which a post's counts are announced. */
export function channelOf(bucket: number, post: string): string {
  return `tc:{${bucket}}:c:${post}`;
}

export function postOf(channel: string): string {
  return channel.slice(channel.indexOf(':c:') + 3);
}
