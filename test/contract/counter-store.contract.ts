import { afterEach, beforeEach, describe } from '@jest/globals';
import type { StoreBehindLog } from '../../src/store/store-behind-log.js';
import { changedMembersTests } from './changed-members.js';
import { changedPostsTests } from './changed-posts.js';
import { publishingTests, reopenTests } from './publishing.js';
import { amountTests, operationTests, readingTests } from './counting.js';
import { producerTests, lastSeqTests } from './delivery.js';
import { logPositionTests } from './log-positions.js';
import { Producer, START_MS } from './operations.js';
import { applied, type StoreUnderTest } from './store-under-test.js';

/** A store for one test, empty at first, with BUCKETS and METRICS of operations.ts. */
export interface OpenStore {
  readonly store: StoreBehindLog;
  /** Closes the store and opens another one with the same data, as a new process does. */
  reopen(): Promise<StoreBehindLog>;
  /** Closes the store and removes its data. */
  close(): Promise<void>;
}

/** Tests of everything that every store must do. Results may be late and in another order where CounterStore allows it. */
export function describeStore(name: string, open: () => Promise<OpenStore>): void {
  describe(name, () => {
    let opened: OpenStore;
    let producer: Producer;
    const under: StoreUnderTest = {
      get store() {
        return opened.store;
      },
      reopen: () => opened.reopen(),
      apply: (operations, bucket = 0, atMs = START_MS) =>
        applied(opened.store, producer.batch(bucket, operations, atMs)),
      async view(post, actor = null) {
        const [view] = await opened.store.read([post], actor);
        return view!;
      },
    };

    beforeEach(async () => {
      opened = await open();
      producer = new Producer('prod-one');
    });
    afterEach(() => opened.close());

    describe('reading', () => readingTests(under));
    describe('operations', () => operationTests(under));
    describe('producers', () => producerTests(under));
    describe('last seqs', () => lastSeqTests(under));
    describe('positions in logs', () => logPositionTests(under));
    describe('changes', () => publishingTests(under));
    describe('changed posts', () => changedPostsTests(under));
    describe('changed members', () => changedMembersTests(under));
    describe('large amounts', () => amountTests(under));
    describe('a reopened store', () => reopenTests(under));
  });
}
