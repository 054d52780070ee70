import { copyFileSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { open, type RootDatabase } from 'lmdb';
import { checkDataFile } from './lmdb-file-check.js';

const PAGE_BYTES = 4_096;
const LARGE = 100_000;

let home: string;
let path: string;

function openAt(at: string): RootDatabase {
  return open({ path: at, noSubdir: true, overlappingSync: false, eventTurnBatching: false, pageSize: PAGE_BYTES });
}

/** Bytes of all values, so that every page in use is read. */
async function bytesIn(at: string): Promise<number> {
  const root = openAt(at);
  let bytes = 0;
  for (const { value } of root.openDB<Buffer, string>({ name: 'rows', encoding: 'binary' }).getRange()) {
    bytes += value.length;
  }
  await root.close();
  return bytes;
}

/** A file of several levels, with large values and with free pages, the last one among them. */
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'tallycast-data-file-'));
  path = join(home, 'counters.mdb');
  const root = openAt(path);
  const rows = root.openDB<Buffer, string>({ name: 'rows', encoding: 'binary' });
  const put = (from: number, to: number, bytes: number): void => {
    for (let i = from; i < to; i++) void rows.put(`row-${i}`, Buffer.alloc(bytes, i));
  };
  await root.batch(() => put(0, 500, 100));
  await root.batch(() => put(500, 501, LARGE));
  await root.batch(() => {
    put(501, 511, LARGE);
    for (let i = 501; i < 511; i++) void rows.remove(`row-${i}`);
  });
  // The last pages of the batch above move to the free pages before them.
  for (let i = 0; i < 4; i++) await root.batch(() => put(0, 500, 100));
  await root.close();
});

afterAll(() => rmSync(home, { recursive: true }));

describe('a data file', () => {
  it('a complete data file is accepted', async () => {
    checkDataFile(path);
    expect(await bytesIn(path)).toBe(500 * 100 + LARGE);
  });

  it('a truncated data file is rejected, unless it has all pages in use', async () => {
    const pages = statSync(path).size / PAGE_BYTES;
    const cut = join(home, 'cut.mdb');
    let accepted = 0;
    for (let left = pages - 1; left > 0; left--) {
      copyFileSync(path, cut);
      truncateSync(cut, left * PAGE_BYTES);
      try {
        checkDataFile(cut);
      } catch (error) {
        expect((error as Error).message).toContain('was cut off');
        continue;
      }
      accepted += 1;
      // Reading a page that is missing would end this process.
      expect(await bytesIn(cut)).toBe(500 * 100 + LARGE);
    }
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(pages / 2);
  });
});
