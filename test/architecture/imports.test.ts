import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const cruiser = 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs';

function cruise(...paths: string[]): { violations: { rule: { name: string }; from: string }[] } {
  // The exit code is the number of violations; what they are is in the output either way.
  const script = `"${process.execPath}" ${cruiser} --output-type json ${paths.join(' ')} || true`;
  const output = execFileSync('bash', ['-c', script], { encoding: 'utf8', maxBuffer: 64 * 2 ** 20 });
  return (JSON.parse(output) as { summary: { violations: { rule: { name: string }; from: string }[] } }).summary;
}

test('imports point one way', () => {
  expect(cruise('src', 'client', 'client-demo', 'load').violations).toEqual([]);
});

test('an import against the direction is found', () => {
  const folder = mkdtempSync('src/counters/planted-');
  try {
    writeFileSync(join(folder, 'planted.ts'), "export { Ingest } from '../../ingest/ingest.js';\n");
    const names = cruise(folder).violations.map(({ rule }) => rule.name);
    expect(names).toContain('counters-are-pure');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
