import { closeSync, openSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { Metrics } from '../../build/counters/metrics.js';
import { EmbeddedStore } from '../../build/store/embedded/embedded-store.js';

/**
 * An embedded store in a process of its own. It reads commands, one a line, and replies to each with a line of JSON:
 *
 *     commit N       commits a batch of N new posts, each with a view and a like
 *     commit-again   commits the last batch again
 *     read           counts the posts so far that have exactly one view and one like, and those that have none
 *     break-header   replaces the file descriptor through which LMDB writes its header
 *
 * The process ends when its input does, and so never outlives the test.
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
    return commands['commit-again']();
  },
  async 'commit-again'() {
    const result = await store.commit(batch).then(
      ({ kind }) => ({ kind }),
      (error) => ({ error: error.message }),
    );
    return { ...result, available: store.available };
  },
  async read() {
    const names = Array.from({ length: posts }, (_, i) => `post-${i}`);
    const totals = (await store.read(names, null)).map(({ counts }) => counts.totals.join());
    const count = (wanted) => totals.filter((text) => text === wanted).length;
    return { once: count('1,1'), never: count('0,0') };
  },
  'break-header'() {
    const fd = readdirSync('/proc/self/fd').find(
      (fd) => readTarget(fd).endsWith('/counters.mdb') && (readFlags(fd) & O_DSYNC) !== 0,
    );
    closeSync(Number(fd));
    // A file that LMDB cannot write must get this number first. Lower numbers may be free, too.
    let opened = openSync('/dev/null', 'r');
    while (opened < Number(fd)) opened = openSync('/dev/null', 'r');
    return { broken: opened === Number(fd) };
  },
};

function readTarget(fd) {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

function readFlags(fd) {
  return parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))[1], 8);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = line.split(' ');
  process.stdout.write(`${JSON.stringify(await commands[name](argument))}\n`);
}
await store.close();
