import {
  closeSync,
  cpSync,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { StoreProcess } from '../faults/store-process.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { Random } from '../support/random.js';

const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const COPIES = 8 * SCALE;
const BATCH = 200;
const PAGE_BYTES = 4_096;
const LISTENS = 'it listens';
const ENV = { BUCKETS: '1' };
const REFUSED = 'the gateway ended before it listened, by exit code 1';
/** The complete output for a torn copy. */
const TORN = new RegExp(
  `^${REFUSED}\\nDATA_DIR [^\\n]+: its data file counters\\.mdb (is damaged: it was copied while a gateway ran, or the disk failed \\([^\\n]+\\)|was cut off: [^\\n]+); restore it from a backup[^\\n]+$`,
);

let home: string;
const stores: StoreProcess[] = [];

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'tallycast-hostile-'));
});

afterAll(async () => {
  await Promise.all([...stores.map((store) => store.end('killed')), stopAll()]);
  rmSync(home, { recursive: true });
});

/** A store with posts that each have a like and a view. */
async function startStore(path: string, batches: number): Promise<StoreProcess> {
  const store = new StoreProcess(path);
  stores.push(store);
  for (let i = 0; i < batches; i++) await store.commit(BATCH);
  return store;
}

function startOn(path: string, env: Record<string, string> = {}): Promise<GatewayProcess> {
  return startGateway({ ...ENV, ...env, DATA_DIR: path });
}

/** Starts a gateway and ends it again. @returns LISTENS, or how it ended before it listened and its output */
async function outcomeOn(path: string): Promise<string> {
  try {
    const gateway = await startOn(path);
    expect(await gateway.kill('SIGTERM')).toBe(0);
    return LISTENS;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Copies the data file in blocks, in a random order, while the store writes between them. */
async function copyWhileWriting(store: StoreProcess, from: string, to: string, random: Random): Promise<void> {
  mkdirSync(to);
  const source = openSync(join(from, 'counters.mdb'), 'r');
  const copy = openSync(join(to, 'counters.mdb'), 'w');
  const block = Buffer.alloc(PAGE_BYTES << random.below(6));
  const starts = Array.from({ length: Math.ceil(fstatSync(source).size / block.length) }, (_, i) => i * block.length);
  if (random.chance(0.2)) starts.reverse();
  const writes = 2 + random.below(8);
  const pauses = new Set(Array.from({ length: writes }, () => random.below(starts.length)));
  for (const [i, start] of starts.entries()) {
    writeSync(copy, block, 0, readSync(source, block, 0, block.length, start), start);
    if (pauses.has(i)) await store.commit(BATCH);
  }
  closeSync(source);
  closeSync(copy);
}

describe('a data file that was copied while a gateway wrote to it', () => {
  it(`a data file that was copied during writes is accepted or rejected in one line, and never crashes the gateway (TEST_SEED=${SEED})`, async () => {
    const random = new Random(SEED);
    const path = join(home, 'running');
    const store = await startStore(path, 20);
    let rejected = 0;
    for (let i = 0; i < COPIES; i++) {
      const copy = join(home, `copy-${i}`);
      await copyWhileWriting(store, path, copy, random);
      const outcome = await outcomeOn(copy);
      if (outcome === LISTENS) continue;
      rejected += 1;
      expect(outcome).toMatch(TORN);
    }
    expect(await store.end('closed')).toBe(0);
    // The seed determines how many of the concurrent writes the copy has.
    expect(rejected).toBeGreaterThan(0);
  });

  it('a data file that was copied without writes meanwhile is accepted with all its counts', async () => {
    const path = join(home, 'calm');
    const store = await startStore(path, 5);
    cpSync(path, join(home, 'calm-copy'), { recursive: true });
    await store.end('killed');
    const { url } = await startOn(join(home, 'calm-copy'));
    const response = await fetch(`${url}/v1/counts?posts=post-0,post-999`);
    expect(await response.json()).toMatchObject({
      counts: [
        { likes: 1, views: 1 },
        { likes: 1, views: 1 },
      ],
    });
  });
});

describe('a data file that a gateway has closed', () => {
  it('a data file that was written to after its gateway closed it is checked again', async () => {
    const path = join(home, 'closed');
    await (await startStore(path, 5)).end('closed');
    const closed = readFileSync(join(path, 'closed'), 'utf8');
    const fd = openSync(join(path, 'counters.mdb'), 'r+');
    const bytes = fstatSync(fd).size - 2 * PAGE_BYTES;
    writeSync(fd, Buffer.alloc(bytes), 0, bytes, 2 * PAGE_BYTES);
    closeSync(fd);
    expect(await outcomeOn(path)).toMatch(TORN);
    expect(readFileSync(join(path, 'closed'), 'utf8')).toBe(closed);
  });

  it('a data file has the mark of a clean close only while no gateway runs on it', async () => {
    const path = join(home, 'says');
    const gateway = await startOn(path);
    expect(existsSync(join(path, 'closed'))).toBe(false);
    await gateway.kill('SIGTERM');
    expect(existsSync(join(path, 'closed'))).toBe(true);
    const killed = await startOn(path);
    await killed.kill('SIGKILL');
    expect(existsSync(join(path, 'closed'))).toBe(false);
    expect(await outcomeOn(path)).toBe(LISTENS);
  });
});
