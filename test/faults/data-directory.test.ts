import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { open } from 'lmdb';
import type { PostCounts } from '../../src/counters/batch.js';
import { Metrics } from '../../src/counters/metrics.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import { key, like, Life, view } from '../contract/operations.js';
import { ROOT } from '../support/gateway-process.js';
import { needPrlimit, StoreProcess } from './store-process.js';

const BUCKETS = 1;
const METRICS = 'likes:toggle,views:tally,shares:tally';
const POSTS = Array.from({ length: 2_000 }, (_, i) => `post-${i}`);
const ANN = key(1);

// Each test starts a gateway or two, which takes seconds where the machine is busy.
jest.setTimeout(60_000);

let home: string;
/** A data directory in it. */
let path: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'tallycast-faults-'));
  path = join(home, 'data');
});
afterEach(() => rmSync(home, { recursive: true }));

function openStore(directory = path): EmbeddedStore {
  const options = { buckets: BUCKETS, metrics: Metrics.parse(METRICS), region: 'local', nonce: () => 1 };
  return new EmbeddedStore({ ...options, path: directory });
}

/** Makes the data directory, with a view and a like of every post. */
async function fill(): Promise<void> {
  const store = openStore();
  const operations = POSTS.flatMap((post) => [view(post), like(post, ANN)]);
  await store.commit(new Life('life-one').batch(0, operations));
  await store.close();
}

async function countsOf(store: EmbeddedStore, post: string): Promise<PostCounts> {
  const [found] = await store.read([post], null);
  return found!.counts;
}

/** Starts the gateway on the directory as an operator does, and gives what it says as it refuses. */
function refusal(env: Record<string, string> = {}): string {
  const { PATH = '', HOME = '' } = process.env;
  const { status, signal, stderr } = spawnSync(process.execPath, [join(ROOT, 'dist', 'main.js')], {
    env: { PATH, HOME, PORT: '0', BUCKETS: String(BUCKETS), METRICS, ...env, DATA_DIR: path },
    encoding: 'utf8',
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
  expect({ status, signal, stderr }).toEqual({ status: 1, signal: null, stderr: expect.stringMatching(/^[^\n]+\n$/) });
  expect(stderr).toContain(`DATA_DIR ${path}: `);
  return stderr;
}

describe('a gateway refuses', () => {
  it('a directory that another process uses', async () => {
    const other = new StoreProcess(path);
    await other.commit(1);
    expect(refusal()).toContain('it is in use by another process; give each gateway a directory of its own');
    await other.end('killed');
    await openStore().close();
  });

  it('a directory of a newer format', async () => {
    await fill();
    const root = open({ path: join(path, 'counters.mdb'), noSubdir: true, overlappingSync: false });
    const db = root.openDB<string, string>({ name: 'meta', encoding: 'string' });
    db.putSync('meta', db.get('meta')!.replace('"format":3', '"format":4'));
    await root.close();
    expect(refusal()).toContain('its format is 4, this program reads format 3; use the version that wrote it');
  });

  it('another number of buckets', async () => {
    await fill();
    expect(refusal({ BUCKETS: '8' })).toContain('it was made with BUCKETS=1, which cannot be changed');
  });

  it.each(['likes:toggle,views:tally', `likes:toggle,views:tally,saves:toggle,shares:tally`])(
    'METRICS=%s, which would read counts as others',
    async (metrics) => {
      await fill();
      expect(refusal({ METRICS: metrics })).toContain(`it was made with METRICS=${METRICS}; new metrics may only`);
    },
  );

  it('a path that is no directory', () => {
    writeFileSync(path, '');
    expect(refusal()).toContain('EEXIST');
  });
});

describe('a gateway refuses a data file', () => {
  const file = (): string => join(path, 'counters.mdb');
  const overwrite = (from: number, bytes: number): void => {
    const fd = openSync(file(), 'r+');
    writeSync(fd, randomBytes(bytes), 0, bytes, from);
    closeSync(fd);
  };

  const DAMAGES: Record<string, () => void> = {
    'of random bytes': () => writeFileSync(file(), randomBytes(statSync(file()).size)),
    'whose first header is random': () => overwrite(0, 4_096),
    'whose second header is random': () => overwrite(4_096, 4_096),
    'that is random after its headers': () => overwrite(8_192, statSync(file()).size - 8_192),
    'cut to a half': () => truncateSync(file(), statSync(file()).size / 2),
    'cut to a header': () => truncateSync(file(), 4_096),
    'cut to a few bytes': () => truncateSync(file(), 10),
    'that is empty': () => truncateSync(file(), 0),
    'that is a directory': () => {
      rmSync(file());
      mkdirSync(file());
    },
  };

  it.each(Object.keys(DAMAGES))('%s', async (damage) => {
    await fill();
    DAMAGES[damage]!();
    expect(refusal()).toMatch(/its data file counters\.mdb .*; restore it from a backup, or remove it/);
  });
});

describe('a data directory', () => {
  it('that was copied goes on from the same counts in an epoch of its own', async () => {
    await fill();
    const copy = join(home, 'copy');
    cpSync(path, copy, { recursive: true });
    const [store, copied] = [openStore(), openStore(copy)];
    await copied.commit(new Life('life-two').batch(0, [view('post-7')]));
    expect(await countsOf(store, 'post-7')).toMatchObject({ e: 'local.1.1', v: 1, totals: [1, 1, 0] });
    expect(await countsOf(copied, 'post-7')).toMatchObject({ e: 'local.2.1', v: 2, totals: [1, 2, 0] });
    await Promise.all([store.close(), copied.close()]);
  });

  it('whose file was put back from a backup begins an epoch, even if it gets the same place on the disk', async () => {
    await fill();
    cpSync(join(path, 'counters.mdb'), join(home, 'backup'));
    rmSync(join(path, 'counters.mdb'));
    cpSync(join(home, 'backup'), join(path, 'counters.mdb'));
    const store = openStore();
    expect(await countsOf(store, 'post-7')).toMatchObject({ e: 'local.2.1', v: 1, totals: [1, 1, 0] });
    await store.close();
  });

  it('that was moved, and is given one more metric, stays in its epoch', async () => {
    await fill();
    const moved = join(home, 'moved');
    renameSync(path, moved);
    const metrics = Metrics.parse(`${METRICS},saves:toggle`);
    const store = new EmbeddedStore({ path: moved, buckets: BUCKETS, metrics, region: 'local', nonce: () => 2 });
    expect(await countsOf(store, 'post-7')).toMatchObject({ e: 'local.1.1', totals: [1, 1, 0, 0] });
    await store.close();
  });
});

describe('a write that fails', () => {
  const FILE_BYTES_MAX = 400_000;
  const BATCH = 200;

  beforeAll(needPrlimit);

  /** Commits until the disk is full, and gives the number of batches that were acknowledged. */
  async function fillDisk(store: StoreProcess): Promise<number> {
    for (let acknowledged = 0; acknowledged < 1_000; acknowledged++) {
      const { kind, error, available } = await store.commit(BATCH);
      expect(available).toBe(kind === 'applied');
      if (kind === 'applied') continue;
      expect(error).toContain(`DATA_DIR ${path}: `);
      return acknowledged;
    }
    throw new Error('the disk was never full');
  }

  it('because the disk is full rejects its batch, which goes through once there is space', async () => {
    const store = new StoreProcess(path, FILE_BYTES_MAX);
    const acknowledged = await fillDisk(store);
    expect(acknowledged).toBeGreaterThan(2);
    for (let i = 0; i < 3; i++) expect(await store.again()).toMatchObject({ available: false });
    expect(await store.read()).toEqual({ once: acknowledged * BATCH, never: BATCH });

    store.makeSpace();
    expect(await store.again()).toEqual({ kind: 'applied', available: true });
    expect(await store.commit(BATCH)).toEqual({ kind: 'applied', available: true });
    expect(await store.again()).toEqual({ kind: 'applied', available: true });
    expect(await store.read()).toEqual({ once: (acknowledged + 2) * BATCH, never: 0 });
    expect(await store.end('closed')).toBe(0);
  });

  it('leaves everything before it, and nothing of itself, to the next process', async () => {
    const store = new StoreProcess(path, FILE_BYTES_MAX);
    const acknowledged = await fillDisk(store);
    await store.end('killed');
    const next = new EmbeddedStore({
      path,
      buckets: BUCKETS,
      metrics: Metrics.parse('likes:toggle,views:tally'),
      region: 'local',
      nonce: () => 1,
    });
    const posts = Array.from({ length: (acknowledged + 1) * BATCH }, (_, i) => `post-${i}`);
    const totals = (await next.read(posts, null)).map(({ counts }) => counts.totals);
    expect(totals).toEqual(posts.map((_, i) => (i < acknowledged * BATCH ? [1, 1] : [0, 0])));
    await next.close();
  });

  it('at the header of the file, after which LMDB refuses everything, is got over', async () => {
    const store = new StoreProcess(path);
    await store.commit(BATCH);
    await store.breakHeader();
    expect(await store.commit(BATCH)).toMatchObject({ error: expect.stringContaining('DATA_DIR'), available: false });
    expect(await store.read()).toEqual({ once: BATCH, never: BATCH });
    expect(await store.again()).toEqual({ kind: 'applied', available: true });
    expect(await store.read()).toEqual({ once: 2 * BATCH, never: 0 });
    expect(await store.end('closed')).toBe(0);
  });
});
