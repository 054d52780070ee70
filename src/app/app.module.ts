import { type DynamicModule, Inject, Module } from '@nestjs/common';
import { Authenticator } from '../access/authenticator.js';
import { SuspicionLog } from '../access/suspicions.js';
import { CoreModule } from './core.module.js';
import { Fanout } from '../fanout/fanout.js';
import { CountsGateway } from '../gateway/counts.gateway.js';
import { GatewayModule } from '../gateway/gateway.module.js';
import { Shortcuts } from '../gateway/transport/shortcuts.js';
import { HttpModule } from '../http/http.module.js';
import { StreamRegistry } from '../http/stream-registry.js';
import { Ingest } from '../ingest/ingest.js';
import { OperationCounts } from '../ingest/operation-counts.js';
import { Instruments } from '../ops/instruments.js';
import { OpsModule } from '../ops/ops.module.js';
import { Presence } from '../fanout/presence.js';
import type { Replication } from '../replication/regions.js';
import type { Settings } from '../config/settings.js';
import type { RedisClient } from '../store/redis/client/redis-client.js';
import { REDIS, REPLICATION } from '../config/injection-tokens.js';

/** The composition root: what the gateway is made of, and what its instruments read. */
@Module({})
export class AppModule {
  constructor(
    @Inject(Instruments) instruments: Instruments,
    @Inject(OperationCounts) counts: OperationCounts,
    @Inject(SuspicionLog) suspicions: SuspicionLog,
    @Inject(Presence) presence: Presence,
    @Inject(Fanout) fanout: Fanout,
    @Inject(Ingest) ingest: Ingest,
    @Inject(CountsGateway) gateway: CountsGateway,
    @Inject(StreamRegistry) streams: StreamRegistry,
    @Inject(Shortcuts) shortcuts: Shortcuts,
    @Inject(Authenticator) identities: Authenticator,
    @Inject(REDIS) redis: RedisClient | null,
    @Inject(REPLICATION) regions: Replication | null,
  ) {
    instruments.operations(counts);
    instruments.suspicions(suspicions);
    instruments.viewers(presence);
    instruments.fanout(fanout);
    instruments.ingest(ingest);
    instruments.shortcuts(shortcuts);
    if (regions !== null) instruments.regions(regions);
    if (identities.keySet !== null) instruments.keySet(identities.keySet);
    if (redis !== null) {
      instruments.gauge(
        'tallycast_redis_evicting_servers',
        'Redis servers whose maxmemory-policy was changed to one that throws counts away.',
        () => redis.evictingServers,
      );
    }
    instruments.gauge(
      'tallycast_held_connections',
      'Connections that are not read for a while, since operations come faster than they are committed.',
      () => gateway.backpressure.paused,
    );
    instruments.gauge('tallycast_sockets', 'Connected sockets.', () => gateway.connections.size);
    instruments.gauge('tallycast_streams', 'Open event streams.', () => streams.size);
  }

  static register(settings: Settings): DynamicModule {
    return { module: AppModule, imports: [CoreModule.register(settings), GatewayModule, HttpModule, OpsModule] };
  }
}
