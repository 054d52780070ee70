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
import type { Replication } from '../../src/replication/start-replication.js';
import { PushRequests } from '../../src/replication/transport/request-splitter.js';
import { DeltaValidation } from '../../src/replication/transport/delta-validation.js';
import { readSettings } from '../../src/config/settings.js';
import { REPLICATION, STORE } from '../../src/config/injection-tokens.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { ROOT } from './gateway-process.js';

/** A gateway in this process that has other regions but pushes nothing to them by itself. */
export interface RegionGateway {
  readonly url: string;
  readonly store: ReferenceStore;
  readonly service: PeerService;
  /** The number of posts in each call of `readPosts`. */
  readonly readSizes: readonly number[];
  /** The status that its links report. */
  status: LinkStatus[];
}

const running: NestExpressApplication[] = [];

/** @param env with REGION, PORT, PEERS and PEER_TOKEN */
export async function startRegionGateway(env: Record<string, string>): Promise<RegionGateway> {
  const settings = readSettings({ DATA_DIR: '/nonexistent/unused', ...env });
  const { buckets, actorKeys, metrics, region, peers, peerToken } = settings;
  const store = new ReferenceStore(metrics, buckets, { region, epoch: 1, nonce: 1 }, () => 2);
  const readSizes: number[] = [];
  const service: PeerService = {
    mergeFrom: (_from, deltas) => store.merge(deltas),
    compareDigests: (_from, digests) => Promise.resolve(digests.map(({ bucket }) => ({ bucket, leaves: [0, 15] }))),
    readPosts: (posts) => {
      readSizes.push(posts.length);
      return store.readPosts(posts);
    },
  };
  const rules = new DeltaValidation(buckets, actorKeys, metrics);
  const regions: Replication = {
    peerService: service,
    isBackfilling: false,
    linkStatuses: () => gateway.status,
    close: () => Promise.resolve(),
    peers: peers.map(
      (peer) =>
        new HttpPeer(peer, {
          region,
          token: peerToken,
          validation: rules,
          requests: new PushRequests(),
          clock: systemClock,
        }),
    ),
  };
  const core = CoreModule.register(settings);
  const given = new Map<unknown, Provider>([
    [REPLICATION, { provide: REPLICATION, useValue: regions }],
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
  const gateway: RegionGateway = { url: await app.getUrl(), store, service, readSizes, status: [] };
  return gateway;
}

/** For `afterAll`. */
export async function stopRegionGateways(): Promise<void> {
  for (const app of running.splice(0)) {
    for (const peer of app.get<Replication>(REPLICATION).peers) peer.close();
    await app.close();
  }
}
