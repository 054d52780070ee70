import { COUNTING_RULES } from '../../src/counters/apply.js';
import { MILESTONE_FINAL_MS } from '../../src/counters/milestones.js';
import { compareIncarnations } from '../../src/counters/pn-counter.js';
import { describeStore } from './counter-store.contract.js';
import { CHANGE_RECORD_RULES } from './memory-change-record.js';
import { BUCKETS, START_MS } from './operations.js';
import { ReferenceStore } from './reference-store.js';

describeStore('the reference store', (metrics) => {
  let nowMs = START_MS;
  const incarnation = { region: 'local', epoch: 1, nonce: 1 };
  const rules = [null, compareIncarnations, COUNTING_RULES, CHANGE_RECORD_RULES, () => nowMs] as const;
  const store = new ReferenceStore(metrics, BUCKETS, incarnation, ...rules);
  const makeFinal = (): Promise<void> => {
    nowMs += MILESTONE_FINAL_MS;
    return Promise.resolve();
  };
  return Promise.resolve({ store, reopen: () => Promise.resolve(store), makeFinal, close: () => store.close() });
});
