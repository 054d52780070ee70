import { type DynamicModule, Module } from '@nestjs/common';
import type { Settings } from '../config/settings.js';
import { GatewayModule } from '../gateway/gateway.module.js';
import { HttpModule } from '../http/http.module.js';
import { OpsModule } from '../ops/ops.module.js';
import { CoreModule } from './core.module.js';

/** The composition root. */
@Module({})
export class AppModule {
  static register(settings: Settings): DynamicModule {
    return { module: AppModule, imports: [CoreModule.register(settings), GatewayModule, HttpModule, OpsModule] };
  }
}
