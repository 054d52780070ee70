import { afterAll, beforeAll, describe, expect, it, test } from '@jest/globals';
import type { MilestoneEvent } from '../../src/protocol/messages.js';
import { type Client, closeClients, connect, expectOk } from '../support/clients.js';
import { stopAll } from '../support/gateway-process.js';
import { readMilestones, readWinners } from '../support/milestones.js';
import { RACE_ENV, RegionRace } from '../support/region-race.js';
import { RegionProcesses } from '../support/region-processes.js';
import { stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const NAMES = ['ap', 'eu', 'us'] as const;
const N = 12;
const FROM = 6;
const ACTORS_A_RACE = 1_000;

const worlds: RegionProcesses[] = [];
const races: RegionRace[] = [];
/** One at each gateway, who watches the posts of its races. */
const viewers: Viewer[] = [];

interface Viewer {
  readonly url: string;
  readonly socket: Client;
  readonly events: MilestoneEvent[];
}

function startViewer(url: string): Viewer {
  const viewer: Viewer = { url, socket: connect(url), events: [] };
  viewer.socket.on('milestone', (event) => void viewer.events.push(event));
  return viewer;
}

afterAll(async () => {
  await closeClients();
  await Promise.all(worlds.map((world) => world.close()));
  await stopAll();
  await stopRedis();
});

describe.each([
  ['gateways on a Redis each', true],
  ['embedded gateways', false],
] as const)('three regions of %s', (_, redis) => {
  let world: RegionProcesses;

  beforeAll(async () => {
    world = await RegionProcesses.start(NAMES, { gateways: 1, redis, more: RACE_ENV });
    worlds.push(world);
    viewers.push(...world.urls.map(startViewer));
  });

  /** A race to 12, with `ap` as the home from 6 on. */
  async function start(name: string, ...more: readonly number[]): Promise<RegionRace> {
    const post = `${name}-${redis ? 'redis' : 'embedded'}`;
    const race = new RegionRace(world, post, [N, ...more], ACTORS_A_RACE * (races.length + 1));
    races.push(race);
    for (const { url, socket } of viewers) {
      if (world.urls.includes(url)) expectOk(await socket.emitWithAck('subscribe', { posts: [post] }));
    }
    await race.arm('ap', FROM);
    return race;
  }

  /** A race with two views of each region, and a home that all have confirmed. */
  async function startNear(post: string, ...more: readonly number[]): Promise<RegionRace> {
    const race = await start(post, ...more);
    for (const name of NAMES) await race.count(name, 2);
    await race.freeze('ap');
    return race;
  }

  it('a region that is cut off before there is a home keeps it one below the milestone', async () => {
    const race = await start('before-the-home');
    await race.count('us', 2);
    await race.untilCounted(2, [world.urlOf('ap')]);
    world.isolate('us');
    await race.count('ap', 4);
    await race.untilWaitingFor('ap', 'us');
    await race.count('eu', 2);
    await race.count('ap', 3);
    const waiting = await race.expectUnavailable('ap', 'us');
    world.mend();
    await race.finish();
    expect(await race.check()).toMatchObject([{ actor: waiting.actor, region: 'ap' }]);
  });

  it('a region that counts past the milestone before it has confirmed the home leaves it missed', async () => {
    const race = await start('missed');
    world.isolate('us');
    await race.count('us', FROM);
    await race.count('ap', FROM + 1);
    await race.untilWaitingFor('ap', 'us');
    expect((await race.read('ap')).reached).toEqual([]);
    world.mend();
    expect(await race.untilRecorded()).toMatchObject([{ missed: true, actor: null, total: 2 * FROM + 1 }]);
    await race.count('us');
    await race.finish();
    expect(race.views.filter(({ hasReached }) => hasReached)).toEqual([]);
  });

  it('one region that has confirmed the home counts nothing in a cut, and another one counts until it confirms', async () => {
    const race = await start('one-confirmed');
    world.isolate('eu');
    await race.count('us', 2);
    await race.untilCounted(2, [world.urlOf('ap')]);
    await race.count('ap', 4);
    await race.untilWaitingFor('ap', 'eu');
    world.isolate('us');
    await race.expectUnavailable('us', 'ap');
    await race.count('eu', 3);
    world.mend();
    await race.freeze('ap');
    await race.finish();
    await race.count('us', 2);
    expect(await race.check()).toMatchObject([{ actor: race.views.at(-1)!.actor, region: 'ap' }]);
    await race.finish();
  });

  it('a home that is cut off after all have confirmed it decides alone', async () => {
    const race = await startNear('all-confirmed');
    world.isolate('ap');
    for (const name of ['eu', 'us']) await race.expectUnavailable(name, 'ap');
    await race.count('ap', 6);
    expect((await race.read('eu')).reached).toEqual([]);
    world.mend();
    await race.finish();
    expect(await race.check()).toMatchObject([{ actor: race.views.at(-1)!.actor, region: 'ap' }]);
  });

  it('a forwarded view whose response is lost at the crossing wins once, and its client gets to know it', async () => {
    const race = await startNear('at-the-crossing');
    await race.count('eu', 5);
    world.loseResponses('eu', 'ap');
    const winner = await race.expectUnavailable('eu', 'ap');
    await until(async () => (await race.read('ap')).reached.length === 1, 'ap has decided');
    await race.count('us', 1);
    world.mend();
    await race.finish();
    expect(winner.hasReached).toBe(true);
    expect(await race.check()).toMatchObject([{ actor: winner.actor, region: 'ap' }]);
  });

  it('a cut before the record travels changes no winner, and its retry waits for the region that decided', async () => {
    const race = await startNear('before-the-record');
    for (const name of ['eu', 'us']) world.cut('ap', name, 'refuse');
    await race.count('us', 6);
    const winner = race.views.at(-1)!;
    expect(winner.hasReached).toBe(true);
    for (const name of ['eu', 'us']) expect((await race.read(name)).reached).toEqual([]);
    await race.count('eu', 2);
    world.isolate('ap');
    expect(await race.send(winner)).toMatchObject({ status: 503 });
    world.mend();
    await race.finish();
    expect(await race.check()).toMatchObject([{ actor: winner.actor, region: 'ap' }]);
  });

  it('a region that does not know of the release goes on forwarding, and counts itself after the cut', async () => {
    const race = await startNear('before-the-release', N + 4);
    await race.count('eu', 6);
    expect(await race.read('ap')).toMatchObject({ mode: 'strict', armed: [N + 4], reached: [{ n: N }] });
    world.isolate('ap');
    await race.expectUnavailable('eu', 'ap');
    await race.count('ap', 4);
    await race.untilMode('ap', 'released');
    await race.expectUnavailable('us', 'ap');
    world.mend();
    for (const name of NAMES) await race.untilMode(name, 'released');
    await race.finish();
    world.isolate('ap');
    for (const name of NAMES) await race.count(name);
    world.mend();
    await race.finish();
    await race.check();
  });

  it('a region that takes over in a cut decides nothing before the former home has confirmed, which may decide meanwhile', async () => {
    const race = await startNear('taken-over-late');
    world.isolate('ap');
    await race.arm('eu', FROM, { home: 'eu' });
    await race.untilWaitingFor('eu', 'ap');
    await race.expectUnavailable('eu', 'ap');
    await race.count('ap', 6);
    const winner = race.views.at(-1)!;
    world.mend();
    await race.finish();
    expect(await race.check()).toMatchObject([{ actor: winner.actor, region: 'ap' }]);
  });

  it('a region that took over in a cut decides once the former home has confirmed', async () => {
    const race = await startNear('taken-over');
    world.isolate('ap');
    await race.arm('eu', FROM, { home: 'eu' });
    await race.untilWaitingFor('eu', 'ap');
    await race.expectUnavailable('eu', 'ap');
    await race.count('ap', 2);
    world.mend();
    await race.untilWaitingFor('eu');
    await race.finish();
    await race.count('us', 1);
    await race.count('ap', 2);
    expect(await race.check()).toMatchObject([{ actor: race.views.at(-1)!.actor, region: 'eu' }]);
    await race.finish();
  });
});

// At last, because in Redis it takes 30 s.
test('all records become final in all regions, and stay what they were', async () => {
  expect(races.length).toBeGreaterThan(0);
  for (const race of races) {
    const records = await race.untilRecorded();
    expect(await race.untilRecorded(true)).toEqual(records.map((one) => ({ ...one, final: true })));
  }
});

test('viewers of all regions have got each milestone once, and its winner finds it as its own in all regions', async () => {
  for (const { world, post } of races) {
    for (const { url, events } of viewers.filter((one) => world.urls.includes(one.url))) {
      const { reached } = await readWinners(url, post, 'views');
      const expected = reached.map(({ n, v, at }) => ({ post, metric: 'views', n, v, at }));
      expect(events.filter((event) => event.post === post)).toEqual(expected);
      for (const { n, v, at, missed, actor } of reached) {
        const { reached: own } = await readMilestones(url, post, 'views', { 'Actor-Id': actor ?? '1' });
        const mine = actor === null ? { missed } : { mine: true };
        expect(own.find((one) => one.n === n)).toEqual({ n, v, at, final: true, ...mine });
      }
    }
  }
});
