import { Inject, Logger, Module, type OnModuleInit } from '@nestjs/common';
import { CountsGateway } from './counts.gateway.js';
import { Handshake } from './handshake.js';
import { FlowControlRegistry } from './flow-control-registry.js';
import { proveShortcuts } from './proofs/prove-shortcuts.js';
import { Shortcuts } from './transport/shortcuts.js';

const shortcuts = {
  provide: Shortcuts,
  useFactory: () => new Shortcuts((message) => new Logger('shortcuts').warn(message)),
};

@Module({
  providers: [CountsGateway, Handshake, FlowControlRegistry, shortcuts],
  exports: [CountsGateway, Handshake, Shortcuts],
})
export class GatewayModule implements OnModuleInit {
  constructor(@Inject(Shortcuts) private readonly shortcuts: Shortcuts) {}

  /** NestJS waits for it before the gateway listens. */
  async onModuleInit(): Promise<void> {
    await proveShortcuts(this.shortcuts);
  }
}
