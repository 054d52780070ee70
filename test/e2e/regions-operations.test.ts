import { afterAll, expect, test } from '@jest/globals';
import { systemClock } from '../../src/common/clock.js';
import { Metrics } from '../../src/counters/metrics.js';
import { APPLIED, DUPLICATE } from '../../src/counters/operation.js';
import type { ForwardedOperation } from '../../src/counters/replication/forwarded-operation.js';
import { DeltaValidation } from '../../src/replication/transport/delta-validation.js';
import { HttpPeer } from '../../src/replication/transport/http-peer.js';
import { PushRequests } from '../../src/replication/transport/request-splitter.js';
import { freePort } from '../support/free-port.js';
import { startRegionGateway, stopRegionGateways } from '../support/region-gateway.js';

const METRICS = 'likes:toggle,views:tally';
const TOKEN = 'a-token-of-these-tests';

afterAll(stopRegionGateways);

function add(seq: number, metric = 1): ForwardedOperation {
  const mark = { session: { hi: 7, lo: 7 }, seq };
  return { post: 'forwarded', metric, kind: 'add', value: 2, actor: null, ...mark, isForwarded: true, hops: 1 };
}

test('a region does operations of another one once, and rejects those that do not fit its metrics', async () => {
  const port = String(await freePort());
  const env = { PEER_TOKEN: TOKEN, METRICS, REGION: 'eu', PORT: port, PEERS: 'us=http://127.0.0.1:1' };
  const eu = await startRegionGateway(env);
  const callAs = (token: string): HttpPeer => {
    const validation = new DeltaValidation(64, 'hash', Metrics.parse(METRICS));
    const options = { region: 'us', token, validation, requests: new PushRequests(), clock: systemClock };
    return new HttpPeer({ region: 'eu', url: new URL(eu.url) }, options);
  };
  const us = callAs(TOKEN);
  expect(await us.forward([add(1), add(2)])).toEqual([APPLIED, APPLIED]);
  expect(await us.forward([add(1), add(2)])).toEqual([DUPLICATE, DUPLICATE]);
  await expect(us.forward([add(3, 0)])).rejects.toThrow(
    'eu responded 400: metric of an operation must be one that takes add',
  );
  const tooMany = Array.from({ length: 251 }, (_, i) => add(i + 3));
  await expect(us.forward(tooMany)).rejects.toThrow('eu responded 400: operations must be at most 250');
  await expect(callAs('another token').forward([add(3)])).rejects.toThrow('eu responded 401');
  const [view] = await eu.store.read(['forwarded'], null);
  expect(view!.counts.totals).toEqual([0, 4]);
});
