import 'reflect-metadata';
import cluster from 'node:cluster';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { Logger } from 'pino';
import { OriginPolicy } from '../access/origin-policy.js';
import { AppModule } from './app.module.js';
import { CrossGatewayAdapter } from '../gateway/actor-events/cross-gateway-adapter.js';
import { ActorStreams } from '../fanout/actor-streams.js';
import type { Clock } from '../common/clock.js';
import { onEndSignal } from '../common/process-signals.js';
import { CountsAdapter } from '../gateway/counts.adapter.js';
import { Handshake } from '../gateway/handshake.js';
import { Shortcuts } from '../gateway/transport/shortcuts.js';
import { UpgradeAwareAdapter } from '../gateway/transport/upgrade-filter.js';
import { configureHttp } from '../http/configure-http.js';
import type { OperatorPort } from '../http/operator-port.js';
import { serveDemo } from '../http/demo/serve-demo.js';
import { Drain } from '../ops/drain.js';
import { createLogger, NestLog } from '../ops/logger.js';
import type { Settings } from '../config/settings.js';
import type { CounterStore } from '../store/counter-store.js';
import type { RedisClient } from '../store/redis/client/redis-client.js';
import { CLOCK, REDIS, STORE } from '../config/injection-tokens.js';
import type { ListeningMessage } from '../workers/messages.js';
import { WorkerMetrics } from '../workers/worker-metrics.js';
import { SessionRouter } from '../workers/session-router.js';

/** The directory of files for browsers: `client`, `client-demo` and `docs`, in dist/. This file is in dist/chunks there. */
const ASSETS = join(import.meta.dirname, '..');

/**
 * Connections that the system queues until the gateway accepts them; it may allow fewer (net.core.somaxconn). All clients of a
 * gateway that died connect within a second, and TCP retries a dropped connection after seconds, doubled each time.
 */
const BACKLOG = 4_096;
/** How long HTTP requests that are in flight when the gateway closes may take. */
const LAST_REQUESTS_MS = 1_000;
/** The process exits this long after SIGTERM even if the drain hangs. Supervisors kill after 30 s. */
const END_LIMIT_MS = 20_000;

/** Runs a gateway in this process, until a signal ends it. */
export async function bootstrap(settings: Settings): Promise<void> {
  const logger = await createLogger(settings.logLevel);
  const app = await NestFactory.create<NestExpressApplication>(
    AppModule.register(settings),
    new UpgradeAwareAdapter(),
    {
      bodyParser: false,
      abortOnError: false,
      logger: new NestLog(logger),
    },
  );
  const operators = configureHttp(app, ASSETS);
  serveDemo(app, join(ASSETS, 'client-demo'));
  const redis = app.get<RedisClient | null>(REDIS);
  const broadcast = redis && new CrossGatewayAdapter(redis.pubSub, app.get<Clock>(CLOCK), app.get(ActorStreams));
  const adapter = new CountsAdapter(
    app,
    app.get(Handshake),
    app.get(OriginPolicy),
    app.get(Shortcuts),
    broadcast?.adapter ?? null,
  );
  app.useWebSocketAdapter(adapter);
  await app.init();
  const worker = cluster.isWorker ? await joinWorkers(app, adapter) : null;
  await listen(app, settings).catch((error: unknown) => {
    throw new Error(`HOST ${settings.host}, PORT ${settings.port}: ${(error as Error).message}`, { cause: error });
  });
  const opsUrl = await operators?.listen(settings.opsPort!, settings.host).catch((error: unknown) => {
    throw new Error(`HOST ${settings.host}, OPS_PORT ${settings.opsPort!}: ${(error as Error).message}`, {
      cause: error,
    });
  });
  const url = (await app.getUrl()).replace('[::1]', 'localhost') + settings.basePath;
  // Before the log reports `listening`, because a reader of the log may send a signal then.
  drainOnSignal(app, logger, worker, operators);
  const urls = { url, ...(opsUrl !== undefined && { opsUrl }) };
  if (worker === null) logger.info({ ...urls, ...app.get<CounterStore>(STORE).description }, 'listening');
  else process.send!({ kind: 'listening', ...urls } satisfies ListeningMessage);
}

/** NestJS passes all arguments to Node's `listen`, but its types leave out the backlog. */
function listen(app: NestExpressApplication, { port, host }: Settings): Promise<unknown> {
  const bound = app.listen.bind(app) as unknown as (port: number, host: string, backlog: number) => Promise<unknown>;
  return bound(port, host, BACKLOG);
}

async function joinWorkers(app: NestExpressApplication, { engine }: CountsAdapter): Promise<SessionRouter> {
  const worker = new SessionRouter(engine, app.getHttpServer(), app.get(WorkerMetrics));
  await worker.join();
  return worker;
}

function drainOnSignal(
  app: NestExpressApplication,
  logger: Logger,
  worker: SessionRouter | null,
  operators: OperatorPort | null,
): void {
  let isDraining = false;
  const drain = (signal: NodeJS.Signals | 'the primary has ended'): void => {
    // A terminal sends its signal to the primary and to its workers, and the primary sends its own.
    if (isDraining) return;
    isDraining = true;
    logger.info({ signal }, 'draining');
    setTimeout(() => process.exit(1), END_LIMIT_MS).unref();
    close(app, worker, operators).then(
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
  onEndSignal(drain);
  worker?.onPrimaryEnd(() => drain('the primary has ended'));
}

async function close(
  app: NestExpressApplication,
  worker: SessionRouter | null,
  operators: OperatorPort | null,
): Promise<void> {
  await app.get(Drain).run();
  await worker?.waitForOtherWorkers();
  operators?.close();
  // Some connections never become idle: with half a request, or opened before their first one.
  setTimeout(() => app.getHttpServer().closeAllConnections(), LAST_REQUESTS_MS);
  await app.close();
}
