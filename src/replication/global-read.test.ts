import { beforeEach, expect, test } from '@jest/globals';
import { GlobalRead } from './global-read.js';
import type { Replication } from './regions.js';

/** What the other region was asked, and how it answers. */
let asked: { readonly posts: readonly string[]; readonly answer: () => void; readonly fail: () => void }[];
let everywhere: GlobalRead;

beforeEach(() => {
  asked = [];
  const show = (posts: readonly string[]): Promise<readonly never[]> =>
    new Promise((resolve, reject) => {
      asked.push({ posts, answer: () => resolve([]), fail: () => reject(new Error('away')) });
    });
  const service = { mergeFrom: () => Promise.resolve([]) };
  everywhere = new GlobalRead({
    peers: [{ region: 'us', readPosts: show }],
    peerService: service,
  } as unknown as Replication);
});

function posts(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`);
}

/** Promises that are due settle, and what waits for them goes on. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('who asks for one post waits for the call under way and the next, however much another asks for', async () => {
  const many = everywhere.refresh(posts('many', 1_600), '203.0.113.1');
  const one = everywhere.refresh(['one'], '203.0.113.2');
  expect(asked[0]!.posts).toHaveLength(500);
  asked[0]!.answer();
  await turn();
  expect(asked[1]!.posts).toHaveLength(500);
  expect(asked[1]!.posts).toContain('one');
  asked[1]!.answer();
  await one;
  for (let i = 2; i < 4; i++) {
    await turn();
    asked[i]!.answer();
  }
  await many;
  expect(asked.flatMap((call) => call.posts)).toHaveLength(1_601);
});

test('a post that waits is asked for once, and one whose call is under way again', async () => {
  const first = everywhere.refresh(['a'], '203.0.113.1');
  const second = [everywhere.refresh(['a', 'b'], '203.0.113.2'), everywhere.refresh(['b', 'a'], '203.0.113.3')];
  asked[0]!.answer();
  await first;
  await turn();
  expect(asked.map((call) => [...call.posts].sort())).toEqual([['a'], ['a', 'b']]);
  asked[1]!.answer();
  await Promise.all(second);
});

test('addresses that take all they may leave room for the next', async () => {
  const waiting = Array.from({ length: 40 }, (_, i) =>
    everywhere.refresh(posts(`flood${i}-`, 500), `203.0.113.${i}`).catch((error: unknown) => error),
  );
  await expect(everywhere.refresh(posts('more', 2_500), '203.0.113.1')).rejects.toMatchObject({
    body: { code: 'RATE_LIMITED', retryAfterMs: 1_000 },
  });
  const late = everywhere.refresh(posts('late', 20), '198.51.100.1');
  const spared = everywhere.refresh(posts('spared', 500), null);
  for (let i = 0; i < asked.length; i++) {
    asked[i]!.answer();
    await turn();
  }
  await Promise.all([late, spared]);
  const refused = (await Promise.all(waiting)).filter((outcome) => outcome !== undefined);
  expect(refused.length).toBeGreaterThan(0);
  expect(refused.length).toBeLessThan(20);
});

test('a region that does not answer is named to all who wait', async () => {
  const outcomes = Promise.allSettled([
    everywhere.refresh(posts('many', 1_200), '203.0.113.1'),
    everywhere.refresh(['one'], '203.0.113.2'),
  ]);
  asked[0]!.fail();
  const reason = { body: { code: 'UNAVAILABLE', message: expect.stringContaining('us') as unknown } };
  expect(await outcomes).toMatchObject([
    { status: 'rejected', reason },
    { status: 'rejected', reason },
  ]);
  expect(asked).toHaveLength(1);
  const again = everywhere.refresh(['one'], '203.0.113.2');
  asked[1]!.answer();
  await again;
});
