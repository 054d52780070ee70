import cluster from 'node:cluster';
import {
  type DynamicModule,
  Global,
  Inject,
  Logger,
  Module,
  type OnApplicationShutdown,
  type Provider,
} from '@nestjs/common';
import { EMPTY, merge } from 'rxjs';
import { AddressLimiter } from '../access/address-limiter.js';
import { Authenticator } from '../access/authenticator.js';
import { BotFilter } from '../access/bot-filter.js';
import { GuestPolicy } from '../access/guest-policy.js';
import { KeySet } from '../access/key-set.js';
import { OriginPolicy } from '../access/origin-policy.js';
import { PostSignatureVerifier } from '../access/post-signature-verifier.js';
import { SuspicionLog } from '../access/suspicion-log.js';
import { ThrottledLog } from '../access/throttled-log.js';
import { VisitorSecrets } from '../access/visitor-secrets.js';
import { TokenVerifier } from '../access/token-verifier.js';
import { type Clock, systemClock } from '../common/clock.js';
import { ActorStreams } from '../fanout/actor-streams.js';
import { GuardedClock } from '../common/guarded-clock.js';
import { ClosingFlag } from '../common/closing-flag.js';
import { ForwardedIntake } from '../ingest/forwarded-intake.js';
import { Ingest } from '../ingest/ingest.js';
import { MilestoneMonitor } from '../ingest/milestone-monitor.js';
import { MilestoneWaits } from '../ingest/milestone-waits.js';
import { OperationCounts } from '../ingest/operation-counts.js';
import type { Aggregator } from '../log/aggregator.js';
import type { EventLog } from '../log/event-log.js';
import { Latencies } from '../ops/instruments.js';
import { type MetricsPage, Prometheus } from '../ops/prometheus.js';
import { WorkerMetrics } from '../workers/worker-metrics.js';
import { Presence } from '../fanout/presence.js';
import { RegionForwarding } from './region-forwarding.js';
import { NO_REPLICATION, type Replication, startReplication } from '../replication/start-replication.js';
import type { Settings } from '../config/settings.js';
import { NO_SINKS, type Sinks, startSinks, warnIfRecording } from '../sinks/start-sinks.js';
import type { CopyableStore } from '../store/change-store.js';
import type { CounterStore } from '../store/counter-store.js';
import type { RedisClient } from '../store/redis/client/redis-client.js';
import type { ReplicatedStore } from '../store/replicated-store.js';
import {
  AGGREGATOR,
  CLOCK,
  DATA_CLOCK,
  EVENT_LOG,
  METRICS_PAGE,
  REDIS,
  REMOTE_TOGGLES,
  REPLICATION,
  SETTINGS,
  SINKS,
  STORE,
} from '../config/injection-tokens.js';
import { openRedis, openStore } from './open-store.js';
import { openVisitorSecrets } from './open-visitor-secrets.js';
import { provideFanout } from './provide-fanout.js';
import { provideLog } from './provide-log.js';
import { random64 } from './random64.js';

const METRICS: Provider[] = [
  { provide: Prometheus, useClass: Prometheus },
  { provide: Latencies, useClass: Latencies },
  {
    provide: WorkerMetrics,
    useFactory: ({ registry }: Prometheus) => (cluster.isWorker ? new WorkerMetrics(registry) : null),
    inject: [Prometheus],
  },
  {
    provide: METRICS_PAGE,
    useFactory: ({ registry }: Prometheus, workerMetrics: WorkerMetrics | null): MetricsPage =>
      workerMetrics === null ? () => registry.metrics() : () => workerMetrics.renderPage(),
    inject: [Prometheus, WorkerMetrics],
  },
];

/** Wires the plain classes that count: they depend neither on NestJS nor on the store behind the port. */
@Global()
@Module({})
export class CoreModule implements OnApplicationShutdown {
  constructor(
    @Inject(STORE) private readonly store: CounterStore,
    @Inject(REPLICATION) private readonly replication: Replication,
    @Inject(SINKS) private readonly sinks: Sinks,
    @Inject(EVENT_LOG) private readonly log: EventLog | null,
    @Inject(AGGREGATOR) private readonly aggregator: Aggregator | null,
    @Inject(VisitorSecrets) private readonly visitorSecrets: VisitorSecrets | null,
    @Inject(Presence) private readonly presence: Presence,
  ) {}

  static register(settings: Settings): DynamicModule {
    const providers = [
      ...provideAccess(settings),
      ...provideStore(settings),
      ...provideLog(settings),
      ...provideCounting(settings),
      ...provideFanout(settings),
      { provide: ActorStreams, useClass: ActorStreams },
      ...METRICS,
    ];
    return { module: CoreModule, providers, exports: providers };
  }

  async onApplicationShutdown(): Promise<void> {
    this.visitorSecrets?.close();
    await Promise.all([this.replication.close(), this.sinks.close(), this.aggregator?.close()]);
    this.presence.emitChanges();
    await Promise.all([this.store.close(), this.log?.close()]);
  }
}

function provideAccess(settings: Settings): Provider[] {
  const { allowedOrigins, publicUrl, maxOpsPerAddress, maxConnectionsPerAddress, trustProxy, postSecret } = settings;
  const limits = { operationsPerSecond: maxOpsPerAddress, connectionsMax: maxConnectionsPerAddress, trustProxy };
  return [
    { provide: SETTINGS, useValue: settings },
    { provide: CLOCK, useValue: systemClock },
    { provide: ClosingFlag, useClass: ClosingFlag },
    {
      provide: DATA_CLOCK,
      useFactory: (clock: Clock) => new GuardedClock(clock, (message) => new Logger('clock').warn(message)),
      inject: [CLOCK],
    },
    {
      provide: VisitorSecrets,
      // The store comes first, because it locks DATA_DIR.
      useFactory: (clock: Clock, redis: RedisClient | null) =>
        openVisitorSecrets(settings, redis, clock, warnAbout('access')),
      inject: [DATA_CLOCK, REDIS, STORE],
    },
    {
      provide: Authenticator,
      useFactory: (clock: Clock, visitorSecrets: VisitorSecrets | null) =>
        createAuthenticator(settings, clock, visitorSecrets),
      inject: [CLOCK, VisitorSecrets],
    },
    { provide: GuestPolicy, useValue: new GuestPolicy(settings.guestMetrics) },
    {
      provide: OriginPolicy,
      useFactory: (clock: Clock) => {
        const warn = warnAbout('origins');
        return new OriginPolicy({ allowed: allowedOrigins, own: publicUrl, warn, log: new ThrottledLog(clock, warn) });
      },
      inject: [CLOCK],
    },
    {
      provide: BotFilter,
      useValue: new BotFilter(settings.countBots, (message) => new Logger('bots').log(message)),
    },
    {
      provide: AddressLimiter,
      useFactory: (clock: Clock) => new AddressLimiter(limits, clock, warnAbout('access')),
      inject: [CLOCK],
    },
    {
      provide: SuspicionLog,
      useFactory: (clock: Clock) => new SuspicionLog(clock, (message) => new Logger('access').warn(message)),
      inject: [CLOCK],
    },
    {
      provide: PostSignatureVerifier,
      useFactory: (suspicions: SuspicionLog) =>
        postSecret === null ? null : new PostSignatureVerifier(postSecret, suspicions),
      inject: [SuspicionLog],
    },
  ];
}

function warnAbout(context: string): (message: string) => void {
  return (message) => new Logger(context).warn(message);
}

function createAuthenticator(settings: Settings, clock: Clock, visitorSecrets: VisitorSecrets | null): Authenticator {
  const { jwt, requireTokenToRead, actorKeys, guestMetrics } = settings;
  const options = { requireTokenToRead, actorKeys, admitsGuests: guestMetrics.length > 0, visitorSecrets };
  if (jwt === null) return new Authenticator(null, options);
  const warn = warnAbout('tokens');
  const keys = jwt.jwksUrl === undefined ? null : new KeySet(jwt.jwksUrl, clock, warn);
  const verifier = new TokenVerifier(jwt, keys, clock, new ThrottledLog(clock, warn));
  return new Authenticator(verifier, options);
}

function createReplication(store: ReplicatedStore, clock: Clock, settings: Settings): Replication {
  return startReplication(store, { ...settings, clock, random: Math.random, warn: warnAbout('regions') });
}

async function createSinks({ changeStore }: CopyableStore, clock: Clock, settings: Settings): Promise<Sinks> {
  const { sinkUrls: urls, sinkIntervalMs: intervalMs } = settings;
  const warn = (message: string): void => new Logger('sinks').warn(message);
  if (urls.length > 0)
    return startSinks(changeStore, { ...settings, urls, intervalMs, clock, random: Math.random, warn });
  // One of several workers warns for all.
  if (cluster.worker === undefined || cluster.worker.id === 1) void warnIfRecording(changeStore, warn);
  return NO_SINKS;
}

function provideStore(settings: Settings): Provider[] {
  return [
    {
      provide: REDIS,
      useFactory: (clock: Clock) => openRedis(settings, clock, warnAbout('redis')),
      inject: [CLOCK],
    },
    {
      provide: STORE,
      useFactory: (connections: RedisClient | null, clock: Clock, dataClock: Clock) =>
        openStore(settings, connections, clock, dataClock, warnAbout('store')),
      inject: [REDIS, CLOCK, DATA_CLOCK],
    },
  ];
}

function provideCounting(settings: Settings): Provider[] {
  const { buckets, flushMs, metrics } = settings;
  return [
    {
      provide: Ingest,
      useFactory: (
        store: CounterStore,
        clock: Clock,
        dataClock: Clock,
        lifecycle: ClosingFlag,
        latencies: Latencies,
        { peers }: Replication,
      ) => {
        const warn = (message: string): void => new Logger('ingest').warn(message);
        const batchTimeMs = (): number => dataClock.wallMs();
        const forwarding = peers.length > 0 && { forwarding: new RegionForwarding(store.milestones, peers) };
        const options = { buckets, flushMs, newProducerId: random64, batchTimeMs, warn, ...forwarding };
        return new Ingest(store, clock, lifecycle, Math.random, options, latencies);
      },
      inject: [STORE, CLOCK, DATA_CLOCK, ClosingFlag, Latencies, REPLICATION],
    },
    { provide: ForwardedIntake, useFactory: (ingest: Ingest) => new ForwardedIntake(ingest), inject: [Ingest] },
    {
      provide: REPLICATION,
      useFactory: ({ replication }: CounterStore, clock: Clock): Replication =>
        replication === null ? NO_REPLICATION : createReplication(replication, clock, settings),
      inject: [STORE, DATA_CLOCK],
    },
    {
      provide: SINKS,
      useFactory: (store: CopyableStore, clock: Clock) => createSinks(store, clock, settings),
      inject: [STORE, CLOCK],
    },
    {
      provide: REMOTE_TOGGLES,
      useFactory: ({ replication }: CounterStore, aggregator: Aggregator | null) =>
        merge(replication?.remoteToggles ?? EMPTY, aggregator?.toggled ?? EMPTY),
      inject: [STORE, AGGREGATOR],
    },
    {
      provide: OperationCounts,
      useFactory: (ingest: Ingest) => new OperationCounts(ingest.committed, ingest.rejected, ingest.forwarded),
      inject: [Ingest],
    },
    {
      provide: MilestoneWaits,
      useFactory: (ingest: Ingest, clock: Clock) =>
        new MilestoneWaits(ingest, metrics, clock, new ThrottledLog(clock, warnAbout('milestones'))),
      inject: [Ingest, CLOCK],
    },
    {
      provide: MilestoneMonitor,
      useFactory: (ingest: Ingest, aggregator: Aggregator | null) => {
        const committed = merge(ingest.committed, aggregator?.committed ?? EMPTY);
        return new MilestoneMonitor(committed, metrics, (message) => new Logger('milestones').log(message));
      },
      inject: [Ingest, AGGREGATOR],
    },
  ];
}
