import { execFile } from 'node:child_process';
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
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { open } from 'lmdb';
import type { PostCounts } from '../../src/counters/batch.js';
import type { ActorKeys } from '../../src/counters/ids.js';
import { Metrics } from '../../src/counters/metrics.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import { key, like, Producer, view } from '../contract/operations.js';
import { ROOT } from '../support/gateway-process.js';
import { needPrlimit, StoreProcess } from './store-process.js';

const BUCKETS = 1;
const METRICS = 'likes:toggle,views:tally,shares:tally';
const POSTS = Array.from({ length: 2_000 }, (_, i) => `post-${i}`);
const ANN = key(1);

let home: string;
/** A data directory in `home`. */
let path: string;

const DATA = { buckets: BUCKETS, actorKeys: 'hash', region: 'local' } as const;

/** Options that replace those of DATA. */
interface Changed {
  readonly buckets?: number;
  readonly actorKeys?: ActorKeys;
  readonly metrics?: string;
}

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'tallycast-faults-'));
  path = join(home, 'data');
});
afterEach(() => rmSync(home, { recursive: true }));

function openStore(directory = path, { metrics = METRICS, ...data }: Changed = {}): EmbeddedStore {
  return new EmbeddedStore({ ...DATA, ...data, metrics: Metrics.parse(metrics), path: directory, nonce: () => 1 });
}

/** Creates the data directory, with a view and a like of every post. */
async function createData(directory = path): Promise<void> {
  const store = openStore(directory);
  const operations = POSTS.flatMap((post) => [view(post), like(post, ANN)]);
  await store.commit(new Producer('prod-one').batch(0, operations));
  await store.close();
}

async function readCounts(store: EmbeddedStore, post: string): Promise<PostCounts> {
  const [found] = await store.read([post], null);
  return found!.counts;
}

/** Opens a store, which must fail. @returns its error, one line that names the directory */
function readOpenError(options: Changed = {}): string {
  let message = 'it was opened';
  try {
    void openStore(path, options).close();
  } catch (error) {
    ({ message } = error as Error);
  }
  expect(message).toMatch(/^[^\n]+$/);
  expect(message).toContain(`DATA_DIR ${path}: `);
  return message;
}

/** Starts the gateway as an operator does. @returns its exit code and its stderr */
function startGateway(): Promise<{ code: unknown; stderr: string }> {
  const { PATH = '', HOME = '' } = process.env;
  const env = { PATH, HOME, PORT: '0', BUCKETS: String(BUCKETS), METRICS, DATA_DIR: path };
  return new Promise((resolve) => {
    execFile(process.execPath, [join(ROOT, 'dist', 'main.js')], { env }, (error, _stdout, stderr) =>
      resolve({ code: error?.code, stderr }),
    );
  });
}

function dataFile(): string {
  return join(path, 'counters.mdb');
}

function overwrite(from: number, bytes: number): void {
  const fd = openSync(dataFile(), 'r+');
  writeSync(fd, randomBytes(bytes), 0, bytes, from);
  closeSync(fd);
}

describe('a gateway on a directory that it must not use', () => {
  it('a gateway ends with exit code 1 and one line when another process uses its directory', async () => {
    const other = new StoreProcess(path);
    await other.commit(1);
    const stderr = `DATA_DIR ${path}: it is in use by another process; give each gateway a directory of its own\n`;
    expect(await startGateway()).toEqual({ code: 1, stderr });
    await other.end('killed');
    await openStore(path, { metrics: 'likes:toggle,views:tally' }).close();
  });

  it('a gateway ends with exit code 1 and one line when its data file is damaged', async () => {
    await createData();
    overwrite(8_192, statSync(dataFile()).size - 8_192);
    const stderr = expect.stringMatching(/^DATA_DIR [^\n]+ its data file counters\.mdb [^\n]+\n$/);
    expect(await startGateway()).toEqual({ code: 1, stderr });
  });
});

describe('an embedded store', () => {
  it.each([3, 5])('a store rejects a directory of format %i and does not change it', async (format) => {
    await createData();
    const root = open({ path: dataFile(), noSubdir: true, overlappingSync: false });
    const db = root.openDB<string, string>({ name: 'meta', encoding: 'string' });
    const meta = db.get('meta')!.replace('"format":4', `"format":${format}`);
    db.putSync('meta', meta);
    await root.close();
    const rule = `format ${format} is not supported (this version reads format 4); use the version that wrote it`;
    expect(readOpenError()).toBe(`DATA_DIR ${path}: ${rule}`);
    const after = open({ path: dataFile(), noSubdir: true, overlappingSync: false });
    expect(after.openDB<string, string>({ name: 'meta', encoding: 'string' }).get('meta')).toBe(meta);
    await after.close();
  });

  it('a store rejects other ACTOR_KEYS than those of its directory', async () => {
    await createData();
    const rule = 'it was made with ACTOR_KEYS=hash, which cannot be changed; set ACTOR_KEYS=hash';
    expect(readOpenError({ actorKeys: 'int64' })).toContain(rule);
  });

  it('a store rejects another number of buckets', async () => {
    await createData();
    expect(readOpenError({ buckets: 8 })).toContain('it was made with BUCKETS=1, which cannot be changed');
  });

  it.each(['likes:toggle,views:tally', 'likes:toggle,views:tally,saves:toggle,shares:tally'])(
    'a store rejects METRICS=%s, which would assign counts to other metrics',
    async (metrics) => {
      await createData();
      expect(readOpenError({ metrics })).toContain('METRICS must begin with likes,views,shares, in this order');
    },
  );

  it('a store rejects a path that is not a directory', () => {
    writeFileSync(path, '');
    expect(readOpenError()).toContain('it is not a directory; name one');
  });
});

describe('an embedded store rejects a data file', () => {
  let intact: string;

  beforeAll(async () => {
    intact = mkdtempSync(join(tmpdir(), 'tallycast-faults-'));
    await createData(intact);
  });
  afterAll(() => rmSync(intact, { recursive: true }));

  const DAMAGES: Record<string, () => void> = {
    'of random bytes': () => writeFileSync(dataFile(), randomBytes(statSync(dataFile()).size)),
    'whose first header is random': () => overwrite(0, 4_096),
    'whose second header is random': () => overwrite(4_096, 4_096),
    'that is random after its headers': () => overwrite(8_192, statSync(dataFile()).size - 8_192),
    'cut to a half': () => truncateSync(dataFile(), statSync(dataFile()).size / 2),
    'cut to a header': () => truncateSync(dataFile(), 4_096),
    'cut to a few bytes': () => truncateSync(dataFile(), 10),
    'that is empty': () => truncateSync(dataFile(), 0),
  };

  it.each(Object.keys(DAMAGES))('a store rejects a data file %s', (damage) => {
    cpSync(intact, path, { recursive: true });
    DAMAGES[damage]!();
    expect(readOpenError()).toMatch(/its data file counters\.mdb .*; restore it from a backup, or remove it/);
  });

  it('a store rejects a data file that is a directory', () => {
    mkdirSync(dataFile(), { recursive: true });
    expect(readOpenError()).toContain('its counters.mdb is not a file; remove it');
  });
});

describe('a data directory', () => {
  it('a copied data directory continues from the same counts in an epoch of its own', async () => {
    await createData();
    const copy = join(home, 'copy');
    cpSync(path, copy, { recursive: true });
    const [store, copied] = [openStore(), openStore(copy)];
    await copied.commit(new Producer('prod-two').batch(0, [view('post-7')]));
    expect(await readCounts(store, 'post-7')).toMatchObject({ e: 'local.1.1', v: 1, totals: [1, 1, 0] });
    expect(await readCounts(copied, 'post-7')).toMatchObject({ e: 'local.2.1', v: 2, totals: [1, 2, 0] });
    await Promise.all([store.close(), copied.close()]);
  });

  it('a data directory with a restored file begins an epoch, even if the file gets the same inode', async () => {
    await createData();
    cpSync(join(path, 'counters.mdb'), join(home, 'backup'));
    rmSync(join(path, 'counters.mdb'));
    cpSync(join(home, 'backup'), join(path, 'counters.mdb'));
    const store = openStore();
    expect(await readCounts(store, 'post-7')).toMatchObject({ e: 'local.2.1', v: 1, totals: [1, 1, 0] });
    await store.close();
  });

  it('a data directory that is moved and gets one more metric stays in its epoch', async () => {
    await createData();
    const moved = join(home, 'moved');
    renameSync(path, moved);
    const metrics = Metrics.parse(`${METRICS},saves:toggle`);
    const store = new EmbeddedStore({ ...DATA, path: moved, metrics, nonce: () => 2 });
    expect(await readCounts(store, 'post-7')).toMatchObject({ e: 'local.1.1', totals: [1, 1, 0, 0] });
    await store.close();
  });
});

describe('a write that fails', () => {
  const FILE_BYTES_MAX = 400_000;
  const BATCH = 200;

  beforeAll(needPrlimit);

  /** Commits until the disk is full. @returns the number of acknowledged batches */
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

  it('a batch is rejected while the disk is full, and committed once there is space', async () => {
    const store = new StoreProcess(path, FILE_BYTES_MAX);
    const acknowledged = await fillDisk(store);
    expect(acknowledged).toBeGreaterThan(2);
    for (let i = 0; i < 3; i++) expect(await store.commitAgain()).toMatchObject({ available: false });
    expect(await store.read()).toEqual({ once: acknowledged * BATCH, never: BATCH });

    store.makeSpace();
    expect(await store.commitAgain()).toEqual({ kind: 'applied', available: true });
    expect(await store.commit(BATCH)).toEqual({ kind: 'applied', available: true });
    expect(await store.commitAgain()).toEqual({ kind: 'applied', available: true });
    expect(await store.read()).toEqual({ once: (acknowledged + 2) * BATCH, never: 0 });
    expect(await store.end('closed')).toBe(0);
  });

  it('a failed write leaves every batch before it, and nothing of its own, to the next process', async () => {
    const store = new StoreProcess(path, FILE_BYTES_MAX);
    const acknowledged = await fillDisk(store);
    await store.end('killed');
    const next = new EmbeddedStore({
      path,
      buckets: BUCKETS,
      actorKeys: 'hash',
      metrics: Metrics.parse('likes:toggle,views:tally'),
      region: 'local',
      nonce: () => 1,
    });
    const posts = Array.from({ length: (acknowledged + 1) * BATCH }, (_, i) => `post-${i}`);
    const totals = (await next.read(posts, null)).map(({ counts }) => counts.totals);
    expect(totals).toEqual(posts.map((_, i) => (i < acknowledged * BATCH ? [1, 1] : [0, 0])));
    await next.close();
  });

  it('a store recovers from a failed write of the header, after which LMDB rejects all writes', async () => {
    const store = new StoreProcess(path);
    await store.commit(BATCH);
    await store.breakHeader();
    expect(await store.commit(BATCH)).toMatchObject({ error: expect.stringContaining('DATA_DIR'), available: false });
    expect(await store.read()).toEqual({ once: BATCH, never: BATCH });
    expect(await store.commitAgain()).toEqual({ kind: 'applied', available: true });
    expect(await store.read()).toEqual({ once: 2 * BATCH, never: 0 });
    expect(await store.end('closed')).toBe(0);
  });
});
