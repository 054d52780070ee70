import type { RedisStoreOptions } from './redis-store.js';

/**
 * What scripts are given for a life that begins in one of them: 32 random bits, and the wall time (ms since 1970). Not the server's
 * own time: the gateway's is guarded against jumps.
 */
export function newLife({ nonce, wallMs }: Pick<RedisStoreOptions, 'nonce' | 'wallMs'>): string {
  return `${nonce()} ${Math.floor(wallMs())}`;
}
