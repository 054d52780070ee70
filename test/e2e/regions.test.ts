import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, connect, expectOk, readTotals, type Client } from '../support/clients.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { RegionProcesses } from '../support/region-processes.js';
import { until } from '../support/until.js';

let world: RegionProcesses;
let eu: string;
let us: string;

beforeAll(async () => {
  world = await RegionProcesses.start(['eu', 'us'], { gateways: 1, redis: false });
  [eu, us] = world.urls as [string, string];
  await until(() => isLinked(eu), 'eu reaches us');
  await until(() => isLinked(us), 'us reaches eu');
});

afterAll(async () => {
  await closeClients();
  await world.close();
  await stopAll();
});

async function isLinked(url: string): Promise<boolean> {
  const { peers } = (await (await fetch(`${url}/v1/regions`)).json()) as {
    peers: { up: boolean; lagChanges: number }[];
  };
  return peers.every(({ up, lagChanges }) => up && lagChanges === 0);
}

async function isReady(url: string): Promise<boolean> {
  return (await fetch(`${url}/readyz`)).status === 200;
}

async function act(socket: Client, event: 'like' | 'unlike' | 'view', post: string): Promise<void> {
  expectOk(await socket.emitWithAck(event, { post }));
}

async function untilBothShow(post: string, likes: number, views: number): Promise<void> {
  for (const url of [eu, us]) {
    const shows = async (): Promise<boolean> => {
      const { [post]: totals } = await readTotals(url, [post]);
      return totals!.likes === likes && totals!.views === views;
    };
    await until(shows, `${url} shows ${likes} likes and ${views} views of ${post}`);
  }
}

describe('two regions', () => {
  it('an actor is notified in one region of its like in the other', async () => {
    const [here, there] = [connect(eu, { actor: 'ann' }), connect(us, { actor: 'ann' })];
    expectOk(await there.emitWithAck('subscribe', { posts: ['notified'] }));
    const notified: unknown[] = [];
    there.on('mine', (mine) => notified.push(mine));
    await act(here, 'like', 'notified');
    await until(() => notified.length > 0, 'the other connection is notified');
    expect(notified).toEqual([{ post: 'notified', metric: 'likes', on: true }]);
    const { counts } = expectOk(await there.emitWithAck('subscribe', { posts: ['notified'] }));
    expect(counts).toMatchObject([{ likes: 1, mine: ['likes'] }]);
  });

  it('a viewer in one region gets the changes of the other with their deltas', async () => {
    const viewer = connect(us);
    expectOk(await viewer.emitWithAck('subscribe', { posts: ['watched'] }));
    const frames: { views?: unknown; d?: unknown }[] = [];
    viewer.on('counts', (updates) => frames.push(...updates));
    const actor = connect(eu);
    await act(actor, 'view', 'watched');
    await until(() => frames.length > 0, 'a frame arrives');
    expect(frames[0]).toMatchObject({ post: 'watched', views: 1, d: { views: 1 } });
  });

  it('an actor that likes in both regions during a cut counts once after it', async () => {
    const [here, there] = [connect(eu, { actor: 'bob' }), connect(us, { actor: 'bob' })];
    world.cutAll();
    await act(here, 'like', 'both');
    await act(there, 'like', 'both');
    await act(here, 'view', 'both');
    for (const url of [eu, us]) expect((await readTotals(url, ['both']))['both']!.likes).toBe(1);
    const response = await fetch(`${eu}/v1/both/likes?consistency=all`);
    expect([response.status, await response.text()]).toEqual([503, expect.stringContaining('us')]);
    world.mend();
    await untilBothShow('both', 1, 1);
  });

  it('the last toggle of an actor wins after a cut', async () => {
    const [here, there] = [connect(eu, { actor: 'cid' }), connect(us, { actor: 'cid' })];
    await act(here, 'like', 'last');
    await untilBothShow('last', 1, 0);
    world.cutAll();
    await act(there, 'unlike', 'last');
    await act(here, 'unlike', 'last');
    await act(here, 'like', 'last');
    world.mend();
    await untilBothShow('last', 1, 0);
    world.cutAll();
    await act(here, 'like', 'last');
    await act(there, 'unlike', 'last');
    world.mend();
    await untilBothShow('last', 0, 0);
  });

  it('a region that returns with an empty disk is backfilled', async () => {
    const [here, there] = [connect(eu, { actor: 'dan' }), connect(us, { actor: 'eve' })];
    for (let i = 0; i < 5; i++) await act(here, 'view', 'filled');
    await act(here, 'like', 'filled');
    await act(there, 'like', 'filled');
    await untilBothShow('filled', 2, 5);
    const [region] = world.regions;
    await region!.gateways[0]!.kill('SIGKILL');
    await act(there, 'view', 'filled');
    // The region learns by acks that it lost history, but receives no full sync yet.
    world.cut('us', 'eu', 'refuse');
    const again = await startGateway({ ...world.env(region!), PORT: String(region!.ports[0]!) });
    region!.gateways[0] = again;
    await until(async () => !(await isReady(again.url)), 'eu is not ready');
    world.mend();
    await until(() => isReady(again.url), 'eu is ready');
    await untilBothShow('filled', 2, 6);
    await until(
      () => again.log.some((line) => /backfill of \d+ buckets from us is complete/.test(line)),
      'the log reports the end of the backfill',
    );
    const newcomer = connect(eu, { actor: 'fay' });
    await act(newcomer, 'view', 'filled');
    await act(newcomer, 'like', 'filled');
    await untilBothShow('filled', 3, 7);
  });

  it('a gateway pushes its last changes before it ends', async () => {
    const [, region] = world.regions;
    const gateway = region!.gateways[0]!;
    const socket = connect(us);
    for (let i = 1; i <= 5; i++) await act(socket, 'view', 'last-pushed');
    await gateway.kill('SIGTERM');
    await until(
      async () => (await readTotals(eu, ['last-pushed']))['last-pushed']!.views === 5,
      'eu has the last changes',
    );
    const env = { ...world.env(region!), PORT: String(region!.ports[0]!), DATA_DIR: gateway.dataDir };
    region!.gateways[0] = await startGateway(env);
    await until(() => isLinked(us), 'us is back');
  });

  it('a gateway resumes after a restart without a full sync', async () => {
    const [, region] = world.regions;
    const socket = connect(us, { actor: 'gil' });
    await act(socket, 'like', 'ended');
    await untilBothShow('ended', 1, 0);
    await until(() => isLinked(us), 'eu has all changes of us');
    await region!.gateways[0]!.kill('SIGTERM');
    const { dataDir } = region!.gateways[0]!;
    const env = { ...world.env(region!), PORT: String(region!.ports[0]!), DATA_DIR: dataDir };
    region!.gateways[0] = await startGateway(env);
    await until(() => isLinked(us), 'us is back');
    await act(connect(us, { actor: 'gil' }), 'unlike', 'ended');
    await untilBothShow('ended', 0, 0);
    const { peers } = (await (await fetch(`${us}/v1/regions`)).json()) as { peers: object[] };
    expect(peers).toMatchObject([{ fullSyncs: 0, rejectedDeltas: 0, incarnationsStarted: 0 }]);
  });
});
