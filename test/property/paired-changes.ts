import { expect } from '@jest/globals';
import type { ChangePage, ChangeStore } from '../../src/store/change-store.js';
import { toDecimalKey } from '../../src/store/redis/codec/key64-decimal.js';
import type { CopiedStore } from './bucket-copy.js';

interface StoreAndReference {
  readonly store: { readonly changeStore: ChangeStore };
  readonly reference: { readonly changeStore: ChangeStore };
}

/**
 * Changes of a store that must be those of the reference.
 * @param pair its reference may be replaced
 * @param withoutVersions large deltas are merged in several steps, each of which makes a version
 */
export function pairChanges(pair: StoreAndReference, withoutVersions: boolean): CopiedStore['changes'] {
  const normalize = ({ posts, members, starts, ...page }: ChangePage): object => ({
    ...page,
    // Redis also takes the times of reads for `startMs`.
    starts: starts.map(({ epoch, nonce, startSeq }) => ({ epoch, nonce, startSeq })),
    posts: posts
      .map((counts) => (withoutVersions ? { ...counts, v: Math.min(counts.v, 1) } : counts))
      .sort((a, b) => (a.post < b.post ? -1 : 1)),
    members: members.map(({ post, metric, actor, on }) => `${post} ${metric} ${toDecimalKey(actor)} ${on}`).sort(),
  });
  return {
    async changesSince(requests, options) {
      const meant = await pair.reference.changeStore.changesSince(requests, options);
      const found = await pair.store.changeStore.changesSince(requests, options);
      expect(found.map(normalize)).toEqual(meant.map(normalize));
      expect(earliestStarts(found, meant)).toEqual(meant.map(({ starts }) => starts.map(({ startMs }) => startMs)));
      return found;
    },
    readAll: (buckets, cursor, limit) => pair.store.changeStore.readAll(buckets, cursor, limit),
    readMembers: (posts, cursor, limit) => pair.store.changeStore.readMembers(posts, cursor, limit),
    checkMembers: (posts, repairs) => pair.store.changeStore.checkMembers(posts, repairs),
    async stopRecording() {
      await pair.reference.changeStore.stopRecording();
      await pair.store.changeStore.stopRecording();
    },
  };
}

/** By page and start: the earlier one of both times. */
function earliestStarts(found: readonly ChangePage[], meant: readonly ChangePage[]): number[][] {
  return found.map(({ starts }, page) =>
    starts.map(({ startMs }, i) => Math.min(startMs, meant[page]!.starts[i]!.startMs)),
  );
}
