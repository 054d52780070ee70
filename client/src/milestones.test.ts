import { afterEach, describe, expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { Random } from '../../test/support/random.js';
import { until } from '../../test/support/until.js';
import { reached } from '../test/clients.js';
import { acknowledgeAll, FakeGateway } from '../test/fake-gateway.js';
import { ACTORS, MilestoneGateway } from '../test/milestone-gateway.js';
import type { Milestone } from './milestones.js';

const HISTORIES = 300;
const AT = [7, 12, 13];

/** Two pages add to a post, one of them also 3 at once. Messages take up to 60 ms; some events and requests are lost. */
async function simulate(seed: number, kind: 'socket' | 'events', lagMs = 0) {
  const clock = new SimulatedClock();
  const random = new Random(seed);
  const gateway = new MilestoneGateway(clock, random, AT, lagMs);
  const reports = ACTORS.map((actor) => {
    const live = gateway.connect(actor, kind);
    const post = live.post('p');
    const milestones: Milestone[] = [];
    post.subscribe(() => undefined);
    post.onMilestone((milestone) => milestones.push(milestone));
    for (let n = 0; n < 6; n++) {
      clock.after(random.below(400), () => void post.add('views', n === 0 ? 3 : 1));
    }
    return milestones;
  });
  await clock.advance(60_000);
  return { gateway, reports };
}

let end: FakeGateway | undefined;

afterEach(() => end?.close());

describe('milestones', () => {
  test.each(['socket', 'events'] as const)(
    'over %s each is called back once, to the winner as its own and to the others as not theirs',
    async (kind) => {
      let won = 0;
      let late = 0;
      for (let seed = 0; seed < HISTORIES; seed++) {
        const { gateway, reports } = await simulate(seed, kind);
        const expected = ACTORS.map((actor) =>
          gateway.reached
            .filter((reached) => reached.winner === actor || !reached.lostTo.has(actor))
            .map(({ n, winner }) => `${n} ${winner === actor}`),
        );
        const received = reports.map((milestones) => milestones.map(({ n, mine }) => `${n} ${mine}`).sort());
        expect([seed, received]).toEqual([seed, expected.map((one) => one.sort())]);
        won += received.flat().filter((one) => one.endsWith('true')).length;
        late += gateway.reached.filter(({ lostTo, winner }) => lostTo.has(winner)).length;
      }
      // All of the 15 are added, so each history has three winners; some of them got no event.
      expect(won).toBe(3 * HISTORIES);
      expect(late).toBeGreaterThan(HISTORIES / 10);
    },
  );

  test('the winner finds out in a region to which the record of another one comes after the acknowledgement', async () => {
    for (let seed = 0; seed < HISTORIES; seed++) {
      const { gateway, reports } = await simulate(seed, 'socket', 2_000);
      const own = reports.map((milestones) => milestones.filter(({ mine }) => mine).map(({ n }) => n));
      const won = ACTORS.map((actor) => gateway.reached.filter(({ winner }) => winner === actor).map(({ n }) => n));
      expect([seed, own]).toEqual([seed, won]);
    }
  });

  test('the event of a socket reaches the listeners of the client and of its post, and further events are ignored', async () => {
    end = await FakeGateway.start();
    end.onSocket = (socket) => {
      acknowledgeAll(socket);
      socket.on('subscribe', () => {
        socket.emit('further', { post: 'a', metric: 'views', n: 1, v: 1, at: '2026-11-30T03:30:00.000Z' });
        for (const post of ['b', 'a'])
          socket.emit('milestone', { post, metric: 'views', n: 100, v: 3, at: '2026-11-30T03:30:00.000Z' });
      });
    };
    const live = end.connect();
    const [all, own, removed]: [Milestone[], Milestone[], Milestone[]] = [[], [], []];
    live.on('milestone', (milestone) => all.push(milestone));
    live.post('a').onMilestone((milestone) => own.push(milestone));
    live.post('a').onMilestone((milestone) => removed.push(milestone))();
    live.post('a').subscribe(() => undefined);
    await reached(live, 'synced');
    await until(() => own.length > 0, 'the milestone is reported');
    const milestone = { metric: 'views', n: 100, at: '2026-11-30T03:30:00.000Z', mine: false };
    expect(all).toEqual([
      { post: 'b', ...milestone },
      { post: 'a', ...milestone },
    ]);
    expect([own, removed]).toEqual([[{ post: 'a', ...milestone }], []]);
  });
});
