import { beforeEach, expect, test } from '@jest/globals';
import { GlobalRead } from './global-read.js';
import type { Replication } from './start-replication.js';

/** The reads that the other region received, and its responses. */
let reads: { readonly posts: readonly string[]; readonly respond: () => void; readonly fail: () => void }[];
let globalRead: GlobalRead;

beforeEach(() => {
  reads = [];
  const readPosts = (posts: readonly string[]): Promise<readonly never[]> =>
    new Promise((resolve, reject) => {
      reads.push({ posts, respond: () => resolve([]), fail: () => reject(new Error('down')) });
    });
  const peerService = { mergeFrom: () => Promise.resolve([]) };
  globalRead = new GlobalRead({
    peers: [{ region: 'us', readPosts }],
    peerService,
  } as unknown as Replication);
});

function posts(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`);
}

/** Lets promises settle, and the code that awaits them continue. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('a request for one post waits for the call in flight and the next one, even if another address requests many', async () => {
  const many = globalRead.refresh(posts('many', 1_600), '203.0.113.1');
  const one = globalRead.refresh(['one'], '203.0.113.2');
  expect(reads[0]!.posts).toHaveLength(500);
  reads[0]!.respond();
  await turn();
  expect(reads[1]!.posts).toHaveLength(500);
  expect(reads[1]!.posts).toContain('one');
  reads[1]!.respond();
  await one;
  for (let i = 2; i < 4; i++) {
    await turn();
    reads[i]!.respond();
  }
  await many;
  expect(reads.flatMap((call) => call.posts)).toHaveLength(1_601);
});

test('a post that waits is read once, and a post whose read is in flight is read again', async () => {
  const first = globalRead.refresh(['a'], '203.0.113.1');
  const second = [globalRead.refresh(['a', 'b'], '203.0.113.2'), globalRead.refresh(['b', 'a'], '203.0.113.3')];
  reads[0]!.respond();
  await first;
  await turn();
  expect(reads.map((call) => [...call.posts].sort())).toEqual([['a'], ['a', 'b']]);
  reads[1]!.respond();
  await Promise.all(second);
});

test('addresses that use their whole quota leave room for the next one', async () => {
  const waiting = Array.from({ length: 40 }, (_, i) =>
    globalRead.refresh(posts(`flood${i}-`, 500), `203.0.113.${i}`).catch((error: unknown) => error),
  );
  await expect(globalRead.refresh(posts('more', 2_500), '203.0.113.1')).rejects.toMatchObject({
    body: { code: 'RATE_LIMITED', retryAfterMs: 1_000 },
  });
  const late = globalRead.refresh(posts('late', 20), '198.51.100.1');
  const spared = globalRead.refresh(posts('spared', 500), null);
  for (let i = 0; i < reads.length; i++) {
    reads[i]!.respond();
    await turn();
  }
  await Promise.all([late, spared]);
  const rejected = (await Promise.all(waiting)).filter((outcome) => outcome !== undefined);
  expect(rejected.length).toBeGreaterThan(0);
  expect(rejected.length).toBeLessThan(20);
});

test('every waiting request fails with the name of the region that did not respond', async () => {
  const outcomes = Promise.allSettled([
    globalRead.refresh(posts('many', 1_200), '203.0.113.1'),
    globalRead.refresh(['one'], '203.0.113.2'),
  ]);
  reads[0]!.fail();
  const reason = { body: { code: 'UNAVAILABLE', message: expect.stringContaining('us') as unknown } };
  expect(await outcomes).toMatchObject([
    { status: 'rejected', reason },
    { status: 'rejected', reason },
  ]);
  expect(reads).toHaveLength(1);
  const again = globalRead.refresh(['one'], '203.0.113.2');
  reads[1]!.respond();
  await again;
});
