import { Module } from '@nestjs/common';
import { GatewayModule } from '../gateway/gateway.module.js';
import { HttpModule } from '../http/http.module.js';
import { AggregatorInstruments } from './aggregator-instruments.js';
import { Drain } from './drain.js';
import { ForwardingInstruments } from './forwarding-instruments.js';
import { Instruments } from './instruments.js';
import { LogInstruments } from './log-instruments.js';
import { OpsController } from './ops.controller.js';
import { SinkInstruments } from './sink-instruments.js';

@Module({
  imports: [GatewayModule, HttpModule],
  controllers: [OpsController],
  providers: [Drain, Instruments, ForwardingInstruments, SinkInstruments, LogInstruments, AggregatorInstruments],
  exports: [Drain],
})
export class OpsModule {}
