import { Module } from '@nestjs/common';
import { CountersController } from './counters.controller.js';
import { StreamController } from './stream.controller.js';
import { Streams } from './streams.js';

/** REST and Server-Sent Events. What goes around them (CORS, limits, errors, documentation): configureHttp. */
@Module({ controllers: [CountersController, StreamController], providers: [Streams], exports: [Streams] })
export class HttpModule {}
