import 'reflect-metadata';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Origins } from './access/origins.js';
import { AppModule } from './app.module.js';
import { CountsAdapter } from './gateway/counts.adapter.js';
import { CountsGateway } from './gateway/counts.gateway.js';
import { Handshake } from './gateway/handshake.js';
import { configureHttp } from './http/configure-http.js';
import { Drain } from './ops/drain.js';
import { createLogger, NestLog } from './ops/logger.js';
import type { Settings } from './settings.js';

/** How long HTTP requests that are under way when the gateway closes may take. */
const LAST_REQUESTS_MS = 1_000;
/** A process that was told to end is gone by then, whatever stands in the way. Supervisors kill after 30 s. */
const END_LIMIT_MS = 20_000;

/** Runs a gateway in this process, until a signal ends it. */
export async function boot(settings: Settings): Promise<void> {
  const logger = await createLogger(settings.logLevel);
  const app = await NestFactory.create<NestExpressApplication>(AppModule.with(settings), {
    bodyParser: false,
    abortOnError: false,
    logger: new NestLog(logger),
  });
  configureHttp(app);
  app.useStaticAssets(join(import.meta.dirname, 'client-demo'));
  app.useWebSocketAdapter(new CountsAdapter(app, app.get(CountsGateway), app.get(Handshake), app.get(Origins), null));
  await app.listen(settings.port, settings.host).catch((error: unknown) => {
    throw new Error(`HOST ${settings.host}, PORT ${settings.port}: ${(error as Error).message}`, { cause: error });
  });
  const url = (await app.getUrl()).replace('[::1]', 'localhost');
  logger.info({ url, dataDir: settings.dataDir }, 'listening');

  const end = (signal: NodeJS.Signals): void => {
    logger.info({ signal }, 'draining');
    setTimeout(() => process.exit(1), END_LIMIT_MS).unref();
    close(app).then(
      () => {
        logger.info('closed');
        process.exit(0);
      },
      (error: unknown) => {
        logger.fatal({ err: error }, 'the drain failed');
        process.exit(1);
      },
    );
  };
  process.once('SIGTERM', end).once('SIGINT', end).once('SIGHUP', end);
}

async function close(app: NestExpressApplication): Promise<void> {
  await app.get(Drain).run();
  // What is not idle by then, nor ever will be: half a request, a connection that was opened ahead of need.
  setTimeout(() => app.getHttpServer().closeAllConnections(), LAST_REQUESTS_MS);
  await app.close();
}
