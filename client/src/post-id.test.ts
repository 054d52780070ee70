import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { checkPostId, postId } from './post-id.js';

/** The table and the program of docs/client.md. */
async function readDocs(): Promise<{ rows: [address: string, id: string][]; program: string }> {
  const docs = await readFile(new URL('../../docs/client.md', import.meta.url), 'utf8');
  const [, section] = /^## Ids from addresses\n(.*?)^## /ms.exec(docs)!;
  const rows = [...section!.matchAll(/^\| `(http[^`]*)` \| `([^`]*)` \|$/gm)];
  return {
    rows: rows.map(([, address, id]) => [address!, id!]),
    program: /```python\n(.*?)```/s.exec(section!)![1]!,
  };
}

test('each address in the documentation has its documented id', async () => {
  const { rows } = await readDocs();
  expect(rows.length).toBeGreaterThanOrEqual(10);
  expect(rows.map(([address]) => [address, postId(address)])).toEqual(rows);
});

test('the documented program in Python makes the same ids', async () => {
  const { rows, program } = await readDocs();
  const addresses = rows.map(([address]) => address);
  const script = `${program}\nimport json, sys\nprint(json.dumps([post_id(url) for url in sys.argv[1:]]))`;
  const { stdout } = await promisify(execFile)('python3', ['-c', script, ...addresses]);
  expect(JSON.parse(stdout)).toEqual(rows.map(([, id]) => id));
});

test('addresses of the same page have one id', () => {
  const same = [
    'https://example.org/caf%C3%A9?b=2&a=%7E',
    'HTTP://www.Example.org:80/café/?a=~&b=2#comments',
    'https://example.org/caf%c3%a9/index.html?utm_source=x&a=~&fbclid=1&b=2',
  ];
  expect(new Set(same.map((address) => postId(address))).size).toBe(1);
});

test('outside of a page postId needs an address', () => {
  expect(() => postId()).toThrow('outside of a page postId needs an address');
});

/** Short texts of few characters, so that equal ids of different addresses would be found. */
const segment = fc.string({
  unit: fc.constantFrom('a', 'A', '.', ':', '_', '-', '/', '8', 'é', '%2F', '~', 'x'.repeat(30)),
  maxLength: 6,
});
const address = fc
  .tuple(fc.constantFrom('a', 'b.a', 'xn--e1a', '_a', 'a:8'), segment, fc.constantFrom('', '?a', '?a=b', '?a:b'))
  .map(([host, path, query]) => new URL(`https://${host}/${path}${query}`));

test('two addresses never share a readable id, and each id is valid', () => {
  const addresses = new Map<string, string>();
  fc.assert(
    fc.property(address, (url) => {
      const id = postId(url);
      checkPostId(id);
      // The rules leave out the slash at the end on purpose.
      const page = decodeURI(url.href.replace(/^https:..|\/(?=\?|$)/g, ''));
      expect(addresses.get(id) ?? page).toBe(page);
      addresses.set(id, page);
    }),
    { numRuns: 5_000 },
  );
});
