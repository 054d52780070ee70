import { closeSync, openSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { Metrics } from '../../build/counters/metrics.js';
import { EmbeddedStore } from '../../build/store/embedded/embedded-store.js';

/**
 * An embedded store in a process of its own, which does what it reads, a line each, and answers with a line of JSON:
 *
 *     commit N       a batch of N posts that were never named before, each with a view and a like
 *     again          the last batch once more
 *     read           how many posts have exactly one view and one like, and how many have none, out of those named
 *     break-header   takes the file away from under LMDB by which it writes its header
 *
 * It ends when its input does, and so never outlives the test.
 */
const O_DSYNC = 0o10000;
const BUCKETS = 1;

const [path] = process.argv.slice(2);
const metrics = Metrics.parse('likes:toggle,views:tally');
const store = new EmbeddedStore({
  path,
  buckets: BUCKETS,
  actorKeys: 'hash',
  metrics,
  region: 'local',
  nonce: () => 1,
});
let batch = { bucket: 0, producerId: 'process1', batchNumber: 0, atMs: Date.UTC(2026, 0, 1), operations: [] };
let posts = 0;

const commands = {
  commit(count) {
    const operations = [];
    for (let i = 0; i < Number(count); i++, posts++) {
      const common = { post: `post-${posts}`, value: 1, session: null, seq: 0 };
      operations.push({ ...common, metric: 1, kind: 'add', actor: null });
      operations.push({ ...common, metric: 0, kind: 'set', actor: { hi: 0, lo: posts } });
    }
    batch = { ...batch, batchNumber: batch.batchNumber + 1, operations };
    return commands.again();
  },
  async again() {
    const answer = await store.commit(batch).then(
      ({ kind }) => ({ kind }),
      (error) => ({ error: error.message }),
    );
    return { ...answer, available: store.available };
  },
  async read() {
    const names = Array.from({ length: posts }, (_, i) => `post-${i}`);
    const totals = (await store.read(names, null)).map(({ counts }) => counts.totals.join());
    const count = (wanted) => totals.filter((text) => text === wanted).length;
    return { once: count('1,1'), never: count('0,0') };
  },
  'break-header'() {
    const fd = readdirSync('/proc/self/fd').find(
      (fd) => linkOf(fd).endsWith('/counters.mdb') && (flagsOf(fd) & O_DSYNC) !== 0,
    );
    closeSync(Number(fd));
    // Something that cannot be written has to take the number, before anything else does. Lower ones may be free, too.
    let taken = openSync('/dev/null', 'r');
    while (taken < Number(fd)) taken = openSync('/dev/null', 'r');
    return { broken: taken === Number(fd) };
  },
};

function linkOf(fd) {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

function flagsOf(fd) {
  return parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))[1], 8);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = line.split(' ');
  process.stdout.write(`${JSON.stringify(await commands[name](argument))}\n`);
}
await store.close();
