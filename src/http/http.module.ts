import { Module } from '@nestjs/common';
import { Everywhere } from '../regions/everywhere.js';
import type { Regions } from '../regions/regions.js';
import { REGIONS } from '../tokens.js';
import { CountersController } from './counters.controller.js';
import { PeerGuard } from './peer-guard.js';
import { Reads } from './reads.js';
import { RegionsController } from './regions.controller.js';
import { StreamController } from './stream.controller.js';
import { Streams } from './streams.js';

/** `null` without other regions. */
const everywhere = {
  provide: Everywhere,
  useFactory: (regions: Regions | null) => regions && new Everywhere(regions),
  inject: [REGIONS],
};

/** REST and Server-Sent Events. What goes around them (CORS, limits, errors, documentation): configureHttp. */
@Module({
  controllers: [RegionsController, CountersController, StreamController],
  providers: [Streams, PeerGuard, Reads, everywhere],
  exports: [Streams, PeerGuard],
})
export class HttpModule {}
