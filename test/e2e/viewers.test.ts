import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, LedgerClient } from '../support/clients.js';
import { FAST_RECONNECT } from '../support/clients-crowd.js';
import { TestViewer } from '../support/clients-viewer.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const POST = 'stage';
const VIEWERS = 100 * Math.min(SCALE, 10);
const SENDERS = 4;
const VIEWS = 1_000 * SCALE;

/** A viewer that records frames after which the sum of all `d` differs from the change of the totals. */
class CheckingViewer extends TestViewer {
  adrift = 0;
  losses = 0;

  constructor(public gateway: string) {
    super(gateway, [POST], FAST_RECONNECT);
    // Called after the listener of the watcher, which takes the frame.
    this.socket.on('counts', () => {
      if (JSON.stringify(this.summed) !== JSON.stringify(this.totals)) this.adrift += 1;
    });
    this.socket.on('disconnect', () => (this.losses += 1));
  }

  /** Sets the gateway of its next connection, like a balancer. */
  moveTo(url: string): void {
    (this.socket.io as unknown as { uri: string }).uri = url;
  }
}

/** The tests depend on their order: the second one ends a gateway that the first one uses. */
describe(`${VIEWERS} viewers of one post on two gateways`, () => {
  let gateways: [GatewayProcess, GatewayProcess];
  let viewers: CheckingViewer[];
  let senders: LedgerClient[];
  let views = 0;

  beforeAll(async () => {
    const env = { REDIS_URL: (await startRedis()).url, MAX_OPS_PER_CONNECTION: '0' };
    gateways = await Promise.all([startGateway(env), startGateway(env)]);
    const urlOf = (i: number): string => gateways[i % 2]!.url;
    viewers = Array.from({ length: VIEWERS }, (_, i) => new CheckingViewer(urlOf(i)));
    await Promise.all(viewers.map((viewer) => viewer.untilSubscribed()));
    senders = Array.from({ length: SENDERS }, (_, i) => new LedgerClient(urlOf(i), `actor-${i}`, FAST_RECONNECT));
  });

  afterAll(async () => {
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  function view(count: number): void {
    for (let i = 0; i < count; i++) senders[i % SENDERS]!.act({ event: 'view', post: POST });
    views += count;
  }

  async function untilAllShowAll(): Promise<void> {
    await Promise.all(senders.map((sender) => sender.untilAcknowledged()));
    await Promise.all(viewers.map((viewer) => viewer.untilShows({ [POST]: { likes: 0, views } })));
  }

  async function live({ url }: GatewayProcess): Promise<number> {
    const response = await fetch(`${url}/v1/${POST}/live`);
    return ((await response.json()) as { count: number }).count;
  }

  it('all viewers get the exact total, and `d` adds up to it in every frame', async () => {
    for (let sent = 0; sent < VIEWS; sent += VIEWS / 10) {
      view(VIEWS / 10);
      await senders[0]!.untilAcknowledged();
    }
    await untilAllShowAll();
    expect(viewers.map(({ adrift }) => adrift)).toEqual(viewers.map(() => 0));
  });

  it('viewers of a killed gateway get the exact total from the other one, and are all counted again', async () => {
    const [killed, survivor] = gateways;
    view(VIEWS / 10);
    for (const { socket } of senders) (socket.io as unknown as { uri: string }).uri = survivor.url;
    for (const viewer of viewers) viewer.moveTo(survivor.url);
    await killed.kill('SIGKILL');
    view(VIEWS / 10);
    const wereThere = ({ gateway }: CheckingViewer): boolean => gateway === killed.url;
    await Promise.all(viewers.filter(wereThere).map((viewer) => viewer.until(() => viewer.losses === 1)));
    await Promise.all(viewers.map((viewer) => viewer.untilSubscribed()));
    await untilAllShowAll();
    expect(viewers.map(({ losses }) => losses)).toEqual(viewers.map((viewer) => (wereThere(viewer) ? 1 : 0)));
    expect(viewers.map(({ adrift }) => adrift)).toEqual(viewers.map(() => 0));
    // The killed gateway's viewers are removed when its lease expires.
    await until(async () => (await live(survivor)) === VIEWERS, 'all viewers are counted once');
  });
});
