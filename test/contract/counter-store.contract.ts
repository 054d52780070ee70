import { afterEach, beforeEach, describe } from '@jest/globals';
import type { Metrics } from '../../src/counters/metrics.js';
import type { StoreBehindLog } from '../../src/store/store-behind-log.js';
import { changedMembersTests } from './changed-members.js';
import { changedMilestonesTests } from './changed-milestones.js';
import { changedPostsTests } from './changed-posts.js';
import { publishingTests, reopenTests } from './publishing.js';
import { amountTests, operationTests, readingTests } from './counting.js';
import { producerTests, lastSeqTests } from './delivery.js';
import { logPositionTests } from './log-positions.js';
import { milestoneTests } from './milestones.js';
import { METRICS, Producer, RULED_METRICS, START_MS } from './operations.js';
import { ruleTests } from './rules.js';
import { applied, type StoreUnderTest } from './store-under-test.js';

/** A store for one test, empty at first, with BUCKETS of operations.ts. */
export interface OpenStore {
  readonly store: StoreBehindLog;
  /** Closes the store and opens another one with the same data, as a new process does. */
  reopen(): Promise<StoreBehindLog>;
  /** Makes the records of milestones so old that they are final; none: they are final at once. */
  readonly makeFinal?: () => Promise<void>;
  /** Closes the store and removes its data. */
  close(): Promise<void>;
}

/**
 * Tests of everything that every store must do. Results may be late and in another order where CounterStore allows it.
 * @param open with METRICS, or with RULED_METRICS
 */
export function describeStore(name: string, open: (metrics: Metrics) => Promise<OpenStore>): void {
  describe(name, () => {
    const under = storeForEachTest(() => open(METRICS));
    describe('reading', () => readingTests(under));
    describe('operations', () => operationTests(under));
    describe('producers', () => producerTests(under));
    describe('last seqs', () => lastSeqTests(under));
    describe('positions in logs', () => logPositionTests(under));
    describe('changes', () => publishingTests(under));
    describe('milestones', () => milestoneTests(under));
    describe('changed posts', () => changedPostsTests(under));
    describe('changed members', () => changedMembersTests(under));
    describe('changed milestones', () => changedMilestonesTests(under));
    describe('large amounts', () => amountTests(under));
    describe('a reopened store', () => reopenTests(under));
  });
  describe(`${name} with rules of counting`, () => ruleTests(storeForEachTest(() => open(RULED_METRICS))));
}

function storeForEachTest(open: () => Promise<OpenStore>): StoreUnderTest {
  let opened: OpenStore;
  let producer: Producer;
  const under: StoreUnderTest = {
    get store() {
      return opened.store;
    },
    reopen: () => opened.reopen(),
    get losesCommits() {
      return opened.makeFinal !== undefined;
    },
    makeFinal: () => opened.makeFinal?.() ?? Promise.resolve(),
    apply: (operations, bucket = 0, atMs = START_MS) => applied(opened.store, producer.batch(bucket, operations, atMs)),
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

  return under;
}
