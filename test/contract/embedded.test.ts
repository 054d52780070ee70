import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import { describeStore } from './counter-store.contract.js';
import { BUCKETS } from './operations.js';

describeStore('the embedded store', async (metrics) => {
  const path = await mkdtemp(join(tmpdir(), 'tallycast-contract-'));
  const open = (): EmbeddedStore =>
    new EmbeddedStore({ path, buckets: BUCKETS, actorKeys: 'hash', metrics, region: 'local', nonce: () => 1 });
  let store = open();
  return {
    store,
    async reopen() {
      await store.close();
      store = open();
      return store;
    },
    async close() {
      await store.close();
      await rm(path, { recursive: true });
    },
  };
});
