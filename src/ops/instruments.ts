import { Inject, Injectable } from '@nestjs/common';
import { Authenticator } from '../access/authenticator.js';
import { BotFilter } from '../access/bot-filter.js';
import type { KeySet } from '../access/key-set.js';
import { OriginPolicy } from '../access/origin-policy.js';
import { SuspicionLog } from '../access/suspicion-log.js';
import { REDIS, REPLICATION } from '../config/injection-tokens.js';
import { Fanout } from '../fanout/fanout.js';
import { Presence } from '../fanout/presence.js';
import { CountsGateway } from '../gateway/counts.gateway.js';
import { Shortcuts } from '../gateway/transport/shortcuts.js';
import { StreamRegistry } from '../http/stream-registry.js';
import { Ingest } from '../ingest/ingest.js';
import { MilestoneMonitor } from '../ingest/milestone-monitor.js';
import { OperationCounts } from '../ingest/operation-counts.js';
import type { Replication } from '../replication/start-replication.js';
import type { LinkStatus } from '../replication/transport/peer.js';
import { Prometheus, type Aggregator } from './prometheus.js';

/** In seconds: from a commit on a fast disk to the deadline of an operation. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** Histograms that ingest fills. */
@Injectable()
export class Latencies {
  readonly commit;
  readonly acknowledgement;

  constructor(@Inject(Prometheus) prometheus: Prometheus) {
    this.commit = prometheus.addHistogram(
      'tallycast_commit_duration_seconds',
      'From sending a batch to the store until it is durable.',
      LATENCY_BUCKETS,
    );
    this.acknowledgement = prometheus.addHistogram(
      'tallycast_acknowledgement_duration_seconds',
      'From accepting an operation until it is acknowledged: of each batch the longest.',
      LATENCY_BUCKETS,
    );
  }
}

/** Registers every other series of this gateway. */
@Injectable()
export class Instruments {
  constructor(
    @Inject(Prometheus) private readonly prometheus: Prometheus,
    @Inject(OperationCounts) operationCounts: OperationCounts,
    @Inject(MilestoneMonitor) milestones: MilestoneMonitor,
    @Inject(BotFilter) bots: BotFilter,
    @Inject(SuspicionLog) suspicionLog: SuspicionLog,
    @Inject(OriginPolicy) origins: OriginPolicy,
    @Inject(Presence) presence: Presence,
    @Inject(Fanout) fanout: Fanout,
    @Inject(Ingest) ingest: Ingest,
    @Inject(CountsGateway) gateway: CountsGateway,
    @Inject(StreamRegistry) streams: StreamRegistry,
    @Inject(Shortcuts) shortcuts: Shortcuts,
    @Inject(Authenticator) { keySet }: Authenticator,
    @Inject(REDIS) redis: { readonly evictingServers: number } | null,
    @Inject(REPLICATION) replication: Replication,
  ) {
    this.#addOperations(operationCounts, ingest);
    this.prometheus.addCounter(
      'tallycast_bot_operations_total',
      'Additions of crawlers and automated browsers, which were not counted.',
      () => bots.operations,
    );
    this.prometheus.addCounter(
      'tallycast_milestones_reached_total',
      'Operations through this gateway that reached one or several milestones.',
      () => milestones.operations,
    );
    this.#addViewers(presence, fanout);
    this.#addConnections(gateway, streams);
    this.#addAccess(suspicionLog, origins);
    this.#addRetained(ingest);
    this.#addShortcuts(shortcuts);
    if (keySet !== null) this.#addKeySet(keySet);
    if (redis !== null) this.#addRedis(redis);
    if (replication.peers.length > 0) this.#addReplication(replication);
  }

  #addOperations(counts: OperationCounts, ingest: Ingest): void {
    const { stats } = ingest;
    this.prometheus.addLabeledCounter(
      'tallycast_operations_total',
      'Operations by kind and result: applied, unchanged, duplicate, accepted by the log, or the code of the error.',
      ['kind', 'result'],
      function* () {
        for (const { kind, result, count } of counts.entries()) yield [{ kind, result }, count];
      },
    );
    this.prometheus.addGauge(
      'tallycast_pending_operations',
      'Operations accepted and not yet committed.',
      () => ingest.pending,
    );
    this.prometheus.addCounter(
      'tallycast_commit_retries_total',
      'Batches sent to the store again.',
      () => stats.retries,
    );
    this.prometheus.addCounter(
      'tallycast_unknown_outcome_operations_total',
      'Operations sent to the store whose outcome will never be known: counted or not.',
      () => stats.unknownOutcomeOperations,
    );
  }

  #addRetained(ingest: Ingest): void {
    const { stats } = ingest;
    this.prometheus.addGauge(
      'tallycast_retained_operations',
      'Operations of committed batches that this gateway retains in case a failover loses them.',
      () => ingest.retained,
    );
    this.prometheus.addCounter(
      'tallycast_replayed_batches_total',
      'Committed batches that the store had lost and that changed it when they were replayed.',
      () => stats.replayedBatches,
    );
    this.prometheus.addCounter(
      'tallycast_lost_batches_total',
      'Committed batches that the store had lost and that no gateway retained any more: their counts are lost.',
      () => stats.lostBatches,
    );
  }

  #addViewers(presence: Presence, fanout: Fanout): void {
    const { prometheus } = this;
    const { stats } = fanout;
    prometheus.addGauge(
      'tallycast_viewer_connections',
      'Connections that watch posts, summed over the posts.',
      () => presence.sumTotals().connections,
    );
    prometheus.addGauge(
      'tallycast_viewer_users',
      'Users (different actors) that watch posts, summed over the posts.',
      () => presence.sumTotals().users,
    );
    prometheus.addGauge(
      'tallycast_watched_posts',
      'Posts that viewers of this gateway watch.',
      () => fanout.watchedPosts,
    );
    prometheus.addGauge(
      'tallycast_tick_seconds',
      'Least time between two frames of a viewer: TICK_MS, or more while the gateway is overloaded.',
      () => fanout.tickMs / 1000,
    );
    prometheus.addCounter('tallycast_frames_total', 'Frames of counts written to viewers.', () => stats.frames);
    prometheus.addCounter('tallycast_frame_bytes_total', 'Bytes of these frames.', () => stats.frameBytes);
    prometheus.addCounter(
      'tallycast_frames_postponed_total',
      'Frames postponed because the viewer had unsent output.',
      () => stats.postponed,
    );
    prometheus.addCounter(
      'tallycast_slow_viewers_disconnected_total',
      'Viewers disconnected because their output stayed unsent.',
      () => stats.disconnected,
    );
  }

  #addConnections(gateway: CountsGateway, streams: StreamRegistry): void {
    this.prometheus.addGauge('tallycast_sockets', 'Connected sockets.', () => gateway.connections.size);
    this.prometheus.addGauge('tallycast_streams', 'Open event streams.', () => streams.size);
    this.prometheus.addGauge(
      'tallycast_paused_connections',
      'Connections that the gateway does not read at present, because operations come faster than commits.',
      () => gateway.backpressure.paused,
    );
  }

  #addAccess(suspicionLog: SuspicionLog, origins: OriginPolicy): void {
    this.prometheus.addLabeledCounter(
      'tallycast_suspicious_total',
      'Likely attacks by kind; the log names each address once an hour.',
      ['kind'],
      function* () {
        for (const [kind, count] of suspicionLog.entries()) yield [{ kind }, count];
      },
    );
    this.prometheus.addCounter(
      'tallycast_rejected_origins_total',
      'Requests of pages that were rejected for their origin; the log names each origin once a minute.',
      () => origins.rejections,
    );
  }

  #addShortcuts(shortcuts: Shortcuts): void {
    this.prometheus.addLabeledGauge(
      'tallycast_shortcut',
      '1 while a shortcut past a public interface is on, 0 if its proof at boot or a later use failed. With several workers: the least.',
      ['name'],
      () => shortcuts.all.map(({ name, isOn }) => [{ name }, isOn ? 1 : 0]),
      'min',
    );
  }

  #addKeySet(keySet: KeySet): void {
    this.prometheus.addGauge(
      'tallycast_key_set_up',
      '1 unless the last fetch of JWT_JWKS_URL failed. With several workers: the least.',
      () => (keySet.isUp ? 1 : 0),
      'min',
    );
    this.prometheus.addGauge(
      'tallycast_key_set_age_seconds',
      'Age of the cached keys of JWT_JWKS_URL; while it is down they are used for a day.',
      () => keySet.ageSeconds,
      'max',
    );
  }

  #addRedis(redis: { readonly evictingServers: number }): void {
    this.prometheus.addGauge(
      'tallycast_redis_evicting_servers',
      'Redis servers whose maxmemory-policy was changed to one that evicts counts.',
      () => redis.evictingServers,
    );
  }

  #addReplication(replication: Replication): void {
    const gauge = (
      name: string,
      help: string,
      read: (status: LinkStatus) => number | null,
      aggregator?: Aggregator,
    ): void => {
      const readAll = function* (): Iterable<readonly [{ peer: string }, number]> {
        for (const status of replication.linkStatuses()) {
          const value = read(status);
          if (value !== null) yield [{ peer: status.region }, value];
        }
      };
      this.prometheus.addLabeledGauge(name, help, ['peer'], readAll, aggregator);
    };
    gauge(
      'tallycast_replication_link_up',
      '1 if the last request to the peer succeeded, 0 if not. With several workers: the least.',
      // A worker that leases no buckets does not call the peer.
      ({ sinceMs, up }) => (sinceMs === null ? null : up ? 1 : 0),
      'min',
    );
    gauge(
      'tallycast_replication_lag_seconds',
      'Age of the oldest change that the peer lacks; 0 if it has all; NaN while unknown.',
      ({ lagSeconds }) => lagSeconds ?? NaN,
      'max',
    );
    gauge(
      'tallycast_replication_lag_changes',
      'Changed posts and toggles that the peer lacks; NaN while unknown: after a start, and during a full sync.',
      ({ lagChanges }) => lagChanges ?? NaN,
    );
    gauge(
      'tallycast_replication_rejected_buckets',
      'Buckets of which the peer rejects everything: stamps ahead of its clock, or impossible counts.',
      ({ rejectedBuckets }) => rejectedBuckets,
    );
    this.#addReplicationCounters(replication);
  }

  #addReplicationCounters(replication: Replication): void {
    const counter = (name: string, help: string, read: (status: LinkStatus) => number): void =>
      this.prometheus.addLabeledCounter(name, help, ['peer'], () =>
        replication.linkStatuses().map((status) => [{ peer: status.region }, read(status)]),
      );
    counter(
      'tallycast_replication_rejected_deltas_total',
      'Deltas that the peer rejected because their incarnation has ended.',
      ({ rejectedDeltas }) => rejectedDeltas,
    );
    counter(
      'tallycast_replication_incarnations_started_total',
      'Incarnations of buckets started because the peer had seen a later one.',
      ({ incarnationsStarted }) => incarnationsStarted,
    );
    counter(
      'tallycast_replication_full_syncs_total',
      'Full syncs of buckets for the peer, which was down or is new.',
      ({ fullSyncs }) => fullSyncs,
    );
    counter(
      'tallycast_replication_rejections_total',
      'Deltas of the peer that this gateway rejected: stamps ahead of its clock, or impossible counts.',
      ({ rejections }) => rejections,
    );
    this.prometheus.addLabeledCounter(
      'tallycast_replication_sent_bytes_total',
      'Bytes of requests to the peer, with their headers.',
      ['peer'],
      () => replication.peers.map(({ region, stats }) => [{ peer: region }, stats.bytesSent]),
    );
  }
}
