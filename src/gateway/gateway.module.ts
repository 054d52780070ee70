import { Module } from '@nestjs/common';
import { CountsGateway } from './counts.gateway.js';
import { Handshake } from './handshake.js';

@Module({ providers: [CountsGateway, Handshake], exports: [CountsGateway, Handshake] })
export class GatewayModule {}
