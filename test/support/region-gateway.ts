import { join } from 'node:path';
import type { Provider } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { OriginPolicy } from '../../src/access/origin-policy.js';
import { AppModule } from '../../src/app/app.module.js';
import { systemClock } from '../../src/common/clock.js';
import { CoreModule } from '../../src/app/core.module.js';
import { CountsAdapter } from '../../src/gateway/counts.adapter.js';
import { GatewayModule } from '../../src/gateway/gateway.module.js';
import { Handshake } from '../../src/gateway/handshake.js';
import { Shortcuts } from '../../src/gateway/transport/shortcuts.js';
import { configureHttp } from '../../src/http/configure-http.js';
import { HttpModule } from '../../src/http/http.module.js';
import { OpsModule } from '../../src/ops/ops.module.js';
import { HttpPeer } from '../../src/replication/transport/http-peer.js';
import type { LinkStatus, PeerService } from '../../src/replication/transport/peer.js';
import type { Regions } from '../../src/replication/regions.js';
import { ShipRequests } from '../../src/replication/transport/request-splitter.js';
import { ShipmentRules } from '../../src/replication/transport/delta-validation.js';
import { readSettings } from '../../src/config/settings.js';
import { REGIONS, STORE } from '../../src/config/injection-tokens.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { ROOT } from './gateway-process.js';

/** A gateway in this process that has other regions, and ships nothing to them by itself. */
export interface RegionGateway {
  readonly url: string;
  readonly store: ReferenceStore;
  readonly service: PeerService;
  /** How many posts each call of `show` asked for. */
  readonly asked: readonly number[];
  /** What its links are to look like. */
  status: LinkStatus[];
}

const running: NestExpressApplication[] = [];

/** @param env with REGION, PORT, PEERS and PEER_TOKEN */
export async function startRegionGateway(env: Record<string, string>): Promise<RegionGateway> {
  const settings = readSettings({ DATA_DIR: '/dev/null/unused', ...env });
  const { buckets, actorKeys, metrics, region, peers, peerToken } = settings;
  const store = new ReferenceStore(metrics, buckets, { region, epoch: 1, nonce: 1 }, () => 2);
  const asked: number[] = [];
  const service: PeerService = {
    shipped: (_from, shipments) => store.merge(shipments),
    compared: (_from, digests) => Promise.resolve(digests.map(({ bucket }) => ({ bucket, leaves: [0, 15] }))),
    shown: (posts) => {
      asked.push(posts.length);
      return store.show(posts);
    },
  };
  const rules = new ShipmentRules(buckets, actorKeys, metrics);
  const regions: Regions = {
    service,
    filling: false,
    status: () => gateway.status,
    close: () => Promise.resolve(),
    peers: peers.map(
      (peer) =>
        new HttpPeer(peer, { region, token: peerToken, rules, requests: new ShipRequests(), clock: systemClock }),
    ),
  };
  const core = CoreModule.with(settings);
  const given = new Map<unknown, Provider>([
    [REGIONS, { provide: REGIONS, useValue: regions }],
    [STORE, { provide: STORE, useValue: store }],
  ]);
  const providers = core.providers!.map((one) => given.get('provide' in one ? one.provide : one) ?? one);
  const imports = [{ ...core, providers, exports: providers }, GatewayModule, HttpModule, OpsModule];
  const app = await NestFactory.create<NestExpressApplication>(
    { module: AppModule, imports },
    { bodyParser: false, abortOnError: false, logger: ['error'] },
  );
  running.push(app);
  configureHttp(app, join(ROOT, 'dist'));
  app.useWebSocketAdapter(new CountsAdapter(app, app.get(Handshake), app.get(OriginPolicy), app.get(Shortcuts), null));
  await app.listen(settings.port, '127.0.0.1');
  const gateway: RegionGateway = { url: await app.getUrl(), store, service, asked, status: [] };
  return gateway;
}

/** For `afterAll`. */
export async function stopRegionGateways(): Promise<void> {
  for (const app of running.splice(0)) {
    for (const peer of app.get<Regions>(REGIONS).peers) peer.close();
    await app.close();
  }
}
