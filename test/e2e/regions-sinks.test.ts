import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { restore } from '../../src/app/restore.js';
import { readSettings } from '../../src/config/settings.js';
import { Metrics } from '../../src/counters/metrics.js';
import { closeClients } from '../support/clients.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { administer, readWinners } from '../support/milestones.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { stopRedis } from '../support/redis-server.js';
import { RACE_ENV, RegionRace } from '../support/region-race.js';
import { PEER_TOKEN, RegionProcesses } from '../support/region-processes.js';
import { until } from '../support/until.js';
import { RowConsumer } from '../sinks/row-consumer.js';
import { SECRET, WebhookServer } from '../sinks/webhook-server.js';

const N = 5;
const POST = 'fed';
const NAMES = ['ap', 'eu', 'us'] as const;

let server: PostgresServer;
let database: TestDatabase;
let directory: string;
let webhook: WebhookServer;
let world: RegionProcesses;

beforeAll(async () => {
  server = await startPostgres();
  database = await server.createDatabase();
  directory = await mkdtemp(join(tmpdir(), 'tallycast-regions-'));
  webhook = new WebhookServer(new RowConsumer(Metrics.parse(RACE_ENV.METRICS)));
  const own = {
    ap: { SINK_URL: database.url.href },
    eu: { SINK_URL: `http://127.0.0.1:${await webhook.listen()}/`, SINK_SECRET: SECRET },
    us: { SINK_URL: pathToFileURL(join(directory, 'counts.ndjson')).href },
  };
  world = await RegionProcesses.start(NAMES, { gateways: 1, redis: true, more: { ...RACE_ENV, SINK_MS: '100' }, own });
});

afterAll(async () => {
  await closeClients();
  await world.close();
  await webhook.close();
  await stopAll();
  await stopRedis();
  await stopPostgres();
  await rm(directory, { recursive: true });
});

/** A milestone as every sink has it. */
type Milestone = Readonly<Record<'post' | 'metric' | 'n' | 'actor' | 'region' | 'total', unknown>>;

function describeMilestone({ post, metric, n, actor, region, total }: Milestone): string {
  return [post, metric, n, actor, region, total].map(String).join(' ');
}

/** @returns the milestones of the sinks of all regions, each once */
async function readSinks(): Promise<string[][]> {
  const rows = await database.sql<Milestone>('SELECT * FROM tallycast_milestones');
  const lines = (await readFile(join(directory, 'counts.ndjson'), 'utf8')).split('\n').filter((line) => line !== '');
  const values = lines.map((line) => JSON.parse(line) as { type?: string; data: Milestone });
  const written = values.filter(({ type }) => type === 'milestone.reached').map(({ data }) => data);
  const received = webhook.milestones as unknown as Milestone[];
  return [rows, received, written].map((list) => [...new Set(list.map(describeMilestone))]);
}

test('the sinks of each region get a record of another region when it is final, and a restored store has it', async () => {
  const race = new RegionRace(world, POST, [N], 1);
  await race.arm('eu', 1);
  await race.count('ap', 1);
  await race.untilWaitingFor('eu');
  await race.count('us', N);
  const [record] = await race.check();
  const expected = `${POST} views ${N} ${record!.actor} eu ${N}`;
  const haveAll = async (): Promise<boolean> => {
    const sinks = await readSinks();
    const isFinal = await Promise.all(NAMES.map(async (name) => (await race.read(name)).reached[0]!.final));
    for (const [i, found] of sinks.entries()) if (!isFinal[i]) expect(found).toEqual([]);
    return sinks.every(({ length }) => length > 0);
  };
  await until(haveAll, 'all sinks have the record');
  expect(await readSinks()).toEqual([[expected], [expected], [expected]]);

  const DATA_DIR = join(directory, 'restored');
  const { METRICS, ACTOR_KEYS } = RACE_ENV;
  const settings = { REGION: 'ap', SINK_URL: database.url.href, DATA_DIR, METRICS, ACTOR_KEYS };
  await restore(readSettings(settings), () => undefined);
  const peers = { PEERS: 'us=http://127.0.0.1:1', PEER_TOKEN };
  const { url } = await startGateway({ ...RACE_ENV, REGION: 'ap', DATA_DIR, ...peers });
  const restored = { n: N, actor: record!.actor, region: 'eu', total: N, final: true };
  expect(await readWinners(url, POST, 'views')).toMatchObject({ armed: [], reached: [restored] });
  const body = { post: POST, metric: 'views', mode: 'strict', from: 1 };
  expect(await administer(url, 'PUT', '', { ...body, at: N })).toMatchObject({ status: 409 });
  expect(await administer(url, 'PUT', '', { ...body, at: N + 9 })).toMatchObject({ status: 201 });
  expect(await readWinners(url, POST, 'views')).toMatchObject({ home: 'ap', mode: 'strict', waiting_for: ['us'] });
});
