import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { VisitorSecretFile } from './visitor-secret-file.js';

const DAY_MS = 86_400_000;

let directory: string;
let file: string;
let nowMs: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tallycast-secrets-'));
  file = join(directory, 'visitor-secrets.json');
  nowMs = Date.UTC(2026, 10, 30);
});

afterEach(() => rmSync(directory, { recursive: true }));

/** Opens the file as a gateway does at its start. */
function open(): VisitorSecretFile {
  return new VisitorSecretFile(directory, () => nowMs);
}

function claim(secrets: VisitorSecretFile, day: string, secret: string): Promise<Buffer> {
  return secrets.claim(day, Buffer.from(secret), Date.parse(day) + 2 * DAY_MS);
}

test('the secret of a day survives a restart, in a file that only its owner may read', async () => {
  expect(await claim(open(), '2026-11-30', 'first')).toEqual(Buffer.from('first'));
  expect(await claim(open(), '2026-11-30', 'other')).toEqual(Buffer.from('first'));
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('a secret is in the file for two days, and not after the next claim', async () => {
  const secrets = open();
  await claim(secrets, '2026-11-30', 'first');
  nowMs += DAY_MS;
  await claim(secrets, '2026-12-01', 'second');
  expect(readFileSync(file, 'utf8')).toContain('2026-11-30');
  nowMs += DAY_MS;
  await claim(secrets, '2026-12-02', 'third');
  expect(Object.keys(JSON.parse(readFileSync(file, 'utf8')) as object)).toEqual(['2026-12-01', '2026-12-02']);
});

test.each(['', '{', '[1]', 'null', '{"2026-11-30":{"secret":1}}'])('a file with %j is reported as damaged', (text) => {
  writeFileSync(file, text);
  expect(open).toThrow('its visitor-secrets.json is damaged; remove it');
});

test('the file is removed where nothing uses it', async () => {
  await claim(open(), '2026-11-30', 'first');
  VisitorSecretFile.remove(directory);
  VisitorSecretFile.remove(directory);
  expect(await claim(open(), '2026-11-30', 'other')).toEqual(Buffer.from('other'));
});
