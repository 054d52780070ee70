import { describeStore } from './counter-store.contract.js';
import { BUCKETS } from './operations.js';
import { ReferenceStore } from './reference-store.js';

describeStore('the reference store', (metrics) => {
  const store = new ReferenceStore(metrics, BUCKETS, { region: 'local', epoch: 1, nonce: 1 });
  return Promise.resolve({ store, reopen: () => Promise.resolve(store), close: () => store.close() });
});
