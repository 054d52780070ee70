import { Module } from '@nestjs/common';
import { GlobalRead } from '../replication/global-read.js';
import type { Replication } from '../replication/start-replication.js';
import { REPLICATION } from '../config/injection-tokens.js';
import { CountersController } from './counters.controller.js';
import { PeerAuthentication } from './peer-authentication.js';
import { ReadLimiter } from './read-limiter.js';
import { RegionsController } from './regions.controller.js';
import { ReplicationController } from './replication.controller.js';
import { StreamController } from './stream.controller.js';
import { StreamRegistry } from './stream-registry.js';

const globalRead = {
  provide: GlobalRead,
  useFactory: (replication: Replication) => new GlobalRead(replication),
  inject: [REPLICATION],
};

/** REST and Server-Sent Events. configureHttp adds CORS, limits, errors and documentation. */
@Module({
  controllers: [RegionsController, ReplicationController, CountersController, StreamController],
  providers: [StreamRegistry, PeerAuthentication, ReadLimiter, globalRead],
  exports: [StreamRegistry, PeerAuthentication],
})
export class HttpModule {}
