import { appendFile, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RowEncoder } from '../../src/sinks/count-row.js';
import { buildFileSink } from '../../src/sinks/file/file-sink.js';
import { NdjsonFile } from '../../src/sinks/file/ndjson-file.js';
import { StoredPositions } from '../../src/sinks/stored-positions.js';
import { METRICS } from '../contract/operations.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';
import { FedStore, type FeedingGateway } from './fed-store.js';
import { FileFollower } from './file-follower.js';
import { RowConsumer } from './row-consumer.js';

const SEED = Number(process.env['TEST_SEED'] ?? 20_261_129);
const ROUNDS = 20 * Number(process.env['TEST_SCALE'] ?? 1);

let store: FedStore;
let home: string;
/** Where the sink writes. */
let directory: string;
let path: string;
let consumer: RowConsumer;
let follower: FileFollower;

beforeEach(async () => {
  store = await FedStore.open(SEED);
  home = await mkdtemp(join(tmpdir(), 'tallycast-file-'));
  directory = join(home, 'counts');
  path = join(directory, 'counts.ndjson');
  await mkdir(directory);
  consumer = new RowConsumer(METRICS);
  follower = new FileFollower(directory, consumer);
});

afterEach(async () => {
  await store.close();
  await rm(home, { recursive: true });
});

function startGateway(): FeedingGateway {
  return store.startGateway((options, changeStore) =>
    buildFileSink({ ...options, url: pathToFileURL(path) }, changeStore),
  );
}

/** Starts a gateway whose files are small. */
function startSmall(bytesMax: number): FeedingGateway {
  return store.startGateway((options, changeStore) => {
    const rows = new RowEncoder(options.region, options.metrics);
    return new StoredPositions(changeStore, 'small', new NdjsonFile({ name: 'small', path, rows, bytesMax }));
  });
}

async function untilCopied(): Promise<void> {
  const expected = await store.readCounts();
  await until(async () => {
    await follower.poll();
    return consumer.counts.size >= expected.size;
  }, 'every post was read');
  const polling = setInterval(() => void follower.poll(), 50);
  await store.untilCopied(consumer).finally(() => clearInterval(polling));
}

describe('NDJSON file', () => {
  it('every post is appended, then what changes, for the owner alone', async () => {
    await store.change(200);
    startGateway();
    await untilCopied();
    await store.change(30);
    await untilCopied();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await follower.listFiles()).toEqual(['counts.ndjson']);
    expect(follower.skipped).toBe(0);
  });

  it('a full file gets the next number, and the last eight are kept', async () => {
    startSmall(4_000);
    for (let round = 0; round < ROUNDS; round++) {
      await store.change(30);
      await untilCopied();
    }
    const files = await follower.listFiles();
    expect(files).toHaveLength(9);
    expect(files.at(-1)).toBe('counts.ndjson');
    const numbers = files.slice(0, -1).map((name) => Number(/\d+/.exec(name)![0]));
    expect(numbers[0]).toBeGreaterThan(1);
    expect(numbers).toEqual(numbers.map((_, i) => numbers[0]! + i));
    for (const name of files) expect((await stat(join(directory, name))).size).toBeLessThan(10_000);
  });

  it('a line that a crash has cut off is ended, and its row follows again', async () => {
    await store.change(100);
    const first = startGateway();
    await untilCopied();
    await first.close();
    await appendFile(path, '{"region":"eu","post":"post.7","e":"eu.1.1","v":9');
    startGateway();
    store.passLease(1);
    await store.change(100);
    await untilCopied();
    expect(follower.skipped).toBe(1);
  });

  it('gateways that take over from each other all the time mix no lines', async () => {
    const random = new Random(SEED);
    for (let i = 0; i < 3; i++) startSmall(20_000);
    for (let round = 0; round < ROUNDS; round++) {
      store.passLease(random.below(3));
      await store.change(50);
      await follower.poll();
    }
    await untilCopied();
    expect(follower.skipped).toBe(0);
  });

  it('every post is appended again after all files were removed', async () => {
    await store.change(200);
    startGateway();
    await untilCopied();
    await rm(path);
    consumer = new RowConsumer(METRICS);
    follower = new FileFollower(directory, consumer);
    await store.change(20);
    await untilCopied();
  });

  it('counts of a store that lost its last commits replace those that it lost', async () => {
    await store.change(300, 20);
    startGateway();
    await untilCopied();
    await store.fallBack(async () => {
      startGateway();
      store.passLease(1);
      await store.change(100, 20);
      await untilCopied();
    });
    startGateway();
    store.passLease(2);
    await store.change(20, 20);
    await untilCopied();
  });

  it('a file that cannot be written is reported in one line, and written later', async () => {
    await rm(directory, { recursive: true });
    await store.change(10);
    const { warnings } = startGateway();
    await until(() => warnings.length > 0, 'the failure is reported');
    expect(warnings).toEqual([expect.stringContaining(`file://${path}: cannot be written: ENOENT`)]);
    expect(warnings[0]).not.toContain('\n');
    await mkdir(directory);
    await untilCopied();
  });

  it('nothing but a regular file is written', async () => {
    await mkdir(path);
    await store.change(10);
    const { warnings } = startGateway();
    await until(() => warnings.length > 0, 'the failure is reported');
    expect(warnings).toEqual([`file://${path}: is not a regular file; name one, or a path where nothing is`]);
  });
});
