import { afterEach, beforeEach, describe } from '@jest/globals';
import type { CounterStore } from '../../src/store/counter-store.js';
import { publishingTests, reopenTests } from './publishing.js';
import { amountTests, operationTests, readingTests } from './counting.js';
import { producerTests, lastSeqTests } from './delivery.js';
import { Producer, START_MS } from './operations.js';
import { applied, type StoreUnderTest } from './store-under-test.js';

/** A store for one test, empty at first, with BUCKETS and METRICS of operations.ts. */
export interface OpenStore {
  readonly store: CounterStore;
  /** Closes the store and opens another on the same data, as after the end of the process. */
  reopen(): Promise<CounterStore>;
  /** Closes what is open and removes the data. */
  close(): Promise<void>;
}

/** What every store has to do. It may answer late and in its own order where CounterStore allows that. */
export function describeStore(name: string, open: () => Promise<OpenStore>): void {
  describe(name, () => {
    let opened: OpenStore;
    let life: Producer;
    const under: StoreUnderTest = {
      get store() {
        return opened.store;
      },
      reopen: () => opened.reopen(),
      apply: (operations, bucket = 0, atMs = START_MS) => applied(opened.store, life.batch(bucket, operations, atMs)),
      async view(post, actor = null) {
        const [view] = await opened.store.read([post], actor);
        return view!;
      },
    };

    beforeEach(async () => {
      opened = await open();
      life = new Producer('life-one');
    });
    afterEach(() => opened.close());

    describe('reading', () => readingTests(under));
    describe('operations', () => operationTests(under));
    describe('fences', () => producerTests(under));
    describe('marks', () => lastSeqTests(under));
    describe('changes', () => publishingTests(under));
    describe('amounts', () => amountTests(under));
    describe('opened again', () => reopenTests(under));
  });
}
