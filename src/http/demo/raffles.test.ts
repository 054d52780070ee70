import { expect, test } from '@jest/globals';
import { ReferenceStore } from '../../../test/contract/reference-store.js';
import { SimulatedClock } from '../../../test/simulation/simulated-clock.js';
import { MilestoneAdministration } from '../../admin/milestone-administration.js';
import { Metrics } from '../../counters/metrics.js';
import { Raffles } from './raffles.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const VIEWS = METRICS.list.find(({ name }) => name === 'views')!;

function begin() {
  const clock = new SimulatedClock();
  const administration = new MilestoneAdministration(
    new ReferenceStore(METRICS, 4, { region: 'eu', epoch: 1, nonce: 1 }).milestones,
    { region: 'eu', peers: [], log: null },
    [],
  );
  return { clock, administration, raffles: new Raffles(administration, VIEWS, clock) };
}

test('a raffle is armed at 100, and a second one within a second is rejected with the time to wait', async () => {
  const { clock, administration, raffles } = begin();
  const { post, at } = await raffles.start();
  expect(post).toMatch(/^raffle-[0-9a-f]{16}$/);
  expect([at, (await administration.read(post, VIEWS)).armed]).toEqual([100, [100]]);
  await clock.advance(400);
  await expect(raffles.start()).rejects.toMatchObject({ body: { code: 'RATE_LIMITED', retryAfterMs: 600 } });
  await clock.advance(600);
  expect((await raffles.start()).post).not.toBe(post);
});

test('twenty raffles are armed at a time: the oldest is disarmed', async () => {
  const { clock, administration, raffles } = begin();
  const posts: string[] = [];
  for (let n = 0; n < 22; n++) {
    posts.push((await raffles.start()).post);
    await clock.advance(1_000);
  }
  const armed = await Promise.all(posts.map(async (post) => (await administration.read(post, VIEWS)).armed.length));
  expect(armed).toEqual([0, 0, ...Array.from({ length: 20 }, () => 1)]);
});
