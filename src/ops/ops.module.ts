import { Module } from '@nestjs/common';
import { GatewayModule } from '../gateway/gateway.module.js';
import { HttpModule } from '../http/http.module.js';
import { Drain } from './drain.js';
import { Instruments } from './instruments.js';
import { OpsController } from './ops.controller.js';

@Module({
  imports: [GatewayModule, HttpModule],
  controllers: [OpsController],
  providers: [Drain, Instruments],
  exports: [Drain],
})
export class OpsModule {}
