import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConsoleLogger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { OriginPolicy } from '../../src/access/origin-policy.js';
import { AppModule } from '../../src/app/app.module.js';
import { systemClock } from '../../src/common/clock.js';
import { ActorStreams } from '../../src/fanout/actor-streams.js';
import { CrossGatewayAdapter } from '../../src/gateway/actor-events/cross-gateway-adapter.js';
import { CountsAdapter } from '../../src/gateway/counts.adapter.js';
import { Handshake } from '../../src/gateway/handshake.js';
import { Shortcuts } from '../../src/gateway/transport/shortcuts.js';
import { configureHttp } from '../../src/http/configure-http.js';
import { readSettings } from '../../src/config/settings.js';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import { ROOT } from './gateway-process.js';

/** A gateway in this process with its own embedded store. */
export interface LocalGateway {
  readonly url: string;
  /** Warnings that it logged. */
  readonly warnings: readonly string[];
}

interface Running {
  readonly app: NestExpressApplication;
  readonly connections: RedisClient | null;
  readonly dataDir: string;
}

const running: Running[] = [];

/** @param redisUrl if given, its socket.io shares this Redis with other gateways */
export async function startLocalGateway(redisUrl: string | null = null): Promise<LocalGateway> {
  const options = { clock: systemClock, replicated: false, warn: () => undefined };
  const connections = redisUrl === null ? null : await RedisClient.open(parseRedisUrl(redisUrl), options);
  const dataDir = await mkdtemp(join(tmpdir(), 'tallycast-test-'));
  const module = AppModule.register(readSettings({ DATA_DIR: dataDir }));
  const warnings: string[] = [];
  const app = await NestFactory.create<NestExpressApplication>(module, {
    bodyParser: false,
    abortOnError: false,
    logger: new WarningsLog(warnings),
  });
  running.push({ app, connections, dataDir });
  configureHttp(app, join(ROOT, 'dist'));
  const elsewhere = connections && new CrossGatewayAdapter(connections.pubSub, systemClock, app.get(ActorStreams));
  app.useWebSocketAdapter(
    new CountsAdapter(app, app.get(Handshake), app.get(OriginPolicy), app.get(Shortcuts), elsewhere?.adapter ?? null),
  );
  await app.listen(0, '127.0.0.1');
  return { url: await app.getUrl(), warnings };
}

/** Collects warnings and prints errors. */
class WarningsLog extends ConsoleLogger {
  constructor(private readonly warnings: string[]) {
    super({ logLevels: ['error', 'warn'] });
  }

  override warn(message: unknown): void {
    this.warnings.push(String(message));
  }
}

/** For `afterAll`. */
export async function stopLocalGateways(): Promise<void> {
  for (const { app, connections, dataDir } of running.splice(0)) {
    await app.close();
    await connections?.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}
