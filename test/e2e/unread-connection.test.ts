import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, untilMetric } from '../support/metrics.js';
import { encodeFrame, RawSocket } from '../support/raw-socket.js';

/** Names of the maximum length, so that `mine` has 150 bytes. */
const POST = 'p'.repeat(64);
const METRIC = 'saves'.padEnd(32, '_');
/** 30 MB in all: far more than the system's buffers hold. */
const BATCHES = 200;
const PAIRS = 500;
const SOCKETS = 'tallycast_sockets';
const ADA = JSON.stringify({ actor: 'ada' });

describe('a connection that reads nothing', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ MAX_OPS_PER_CONNECTION: '0', METRICS: `likes:toggle,views:tally,${METRIC}:toggle` });
  });

  afterAll(stopAll);

  it('a connection that reads nothing is closed while its actor sends many operations over another one, which stays open', async () => {
    const { url } = gateway;
    const deaf = await RawSocket.connect(url, ADA);
    const actor = await RawSocket.connect(url, ADA);
    await untilMetric(url, SOCKETS, 2);
    deaf.pause();
    const pairs = [true, false].map((on) =>
      encodeFrame(`42${JSON.stringify(['set', { post: POST, metric: METRIC, on }])}`),
    );
    const batch = Buffer.concat(Array.from({ length: PAIRS }, () => pairs).flat());
    for (let i = 0; i < BATCHES; i++) {
      actor.write(batch);
      // Acknowledged after the earlier requests of this connection.
      await actor.emitWithAck('2#["unsubscribe",{"posts":["none"]}]');
    }
    await untilMetric(url, SOCKETS, 1);
    expect(await actor.emitWithAck(`2#["like",{"post":"last"}]`)).toMatchObject({ ok: true, applied: true });
    expect(await readMetric(url, SOCKETS)).toBe(1);
    deaf.resume();
    await deaf.closed;
    actor.destroy();
  });
});
