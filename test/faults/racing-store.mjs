import process from 'node:process';
import { Metrics } from '../../build/counters/metrics.js';
import { REACHED } from '../../build/counters/operation.js';
import { EmbeddedStore } from '../../build/store/embedded/embedded-store.js';

/**
 * Counts views of a post in an embedded store of its own process, until it is killed or has sent all of them:
 *
 *     node racing-store.mjs DATA_DIR POST SESSION VIEWS BY N,N,…
 *
 * It arms the milestones, then sends view after view of the session with the next seq, two small batches at a time. For each batch that
 * is committed it prints the seqs that have reached a milestone, as a line of JSON.
 */
const METRIC = 1;

const [path, post, session, views, by, numbers] = process.argv.slice(2);
const store = new EmbeddedStore({
  path,
  buckets: 1,
  actorKeys: 'hash',
  metrics: Metrics.parse('likes:toggle,views:tally'),
  region: 'local',
  nonce: () => 1,
});
for (const n of numbers.split(',')) await store.milestones.arm(post, METRIC, Number(n));

let seq = 0;
let batchNumber = 0;

async function sendBatch(size) {
  const operations = Array.from({ length: size }, () => {
    return {
      post,
      metric: METRIC,
      kind: 'add',
      value: Number(by),
      actor: null,
      session: { hi: 0, lo: Number(session) },
      seq: ++seq,
    };
  });
  const batch = {
    bucket: 0,
    producerId: 'process1',
    batchNumber: ++batchNumber,
    atMs: Date.UTC(2026, 0, 1),
    operations,
  };
  const { outcomes } = await store.commit(batch);
  const reached = operations.filter((_, i) => (outcomes[i] & REACHED) > 0).map((operation) => operation.seq);
  process.stdout.write(`${JSON.stringify({ upTo: operations.at(-1).seq, reached })}\n`);
}

while (seq < Number(views)) await Promise.all([sendBatch(1), sendBatch(2)]);
await store.close();
