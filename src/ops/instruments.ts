import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { KeySet } from '../access/key-set.js';
import type { SuspicionLog } from '../access/suspicions.js';
import type { Fanout } from '../fanout/fanout.js';
import type { Shortcuts } from '../gateway/transport/shortcuts.js';
import type { Ingest } from '../ingest/ingest.js';
import type { OperationCounts } from '../ingest/operation-counts.js';
import type { Presence } from '../fanout/presence.js';
import type { Replication } from '../replication/regions.js';

/** Seconds; from a commit on a fast disk to the deadline of an operation. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** The loop wakes up this often to measure its own delay; every 10 ms, as is usual, takes a hundredth of a core. */
const LOOP_DELAY_PRECISION_MS = 50;

/** Latencies are observed where they happen; all else is read from its owner when /metrics is asked for. */
export class Instruments {
  readonly registry = new Registry();
  readonly commit = new Histogram({
    name: 'tallycast_commit_seconds',
    help: 'From handing a batch to the store until it is durable.',
    buckets: LATENCY_BUCKETS,
    registers: [this.registry],
  });
  readonly acknowledgement = new Histogram({
    name: 'tallycast_acknowledgement_seconds',
    help: 'From taking in an operation until it is answered: of each batch the one that waited longest.',
    buckets: LATENCY_BUCKETS,
    registers: [this.registry],
  });

  /** The page that /metrics shows; with several workers, that of all of them. */
  page: () => Promise<string> = () => this.registry.metrics();

  constructor() {
    // Event-loop delay, CPU, memory and file descriptors of the process.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: LOOP_DELAY_PRECISION_MS });
  }

  counter(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  operations(counts: OperationCounts): void {
    new Counter({
      name: 'tallycast_operations_total',
      help: 'Operations by kind and result: applied, unchanged, duplicate, or the code of the error.',
      labelNames: ['kind', 'result'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const { kind, result, count } of counts.entries()) this.inc({ kind, result }, count);
      },
    });
  }

  suspicions(suspicions: SuspicionLog): void {
    new Counter({
      name: 'tallycast_suspicious_total',
      help: 'What looked like an attack, by kind; the log names each address once an hour.',
      labelNames: ['kind'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [kind, count] of suspicions.entries()) this.inc({ kind }, count);
      },
    });
  }

  viewers(presence: Presence): void {
    new Gauge({
      name: 'tallycast_viewers',
      help: 'Viewers of posts now, summed over the posts: connections, and users (different actors).',
      labelNames: ['of'],
      registers: [this.registry],
      collect() {
        const { connections, users } = presence.sumTotals();
        this.set({ of: 'connections' }, connections);
        this.set({ of: 'users' }, users);
      },
    });
  }

  fanout(fanout: Fanout): void {
    const { stats } = fanout;
    this.counter('tallycast_frames_total', 'Frames of counts written to viewers.', () => stats.frames);
    this.counter('tallycast_frame_bytes_total', 'Bytes of these frames.', () => stats.frameBytes);
    this.counter(
      'tallycast_frames_postponed_total',
      'Frames put off since the viewer was behind.',
      () => stats.postponed,
    );
    this.counter(
      'tallycast_viewers_cut_total',
      'Viewers disconnected since they stayed behind.',
      () => stats.disconnected,
    );
    this.gauge(
      'tallycast_tick_seconds',
      'From a frame of a viewer to its next, at least: TICK_MS, or more while the gateway does not keep up.',
      () => fanout.tickMs / 1000,
    );
    this.gauge('tallycast_watched_posts', 'Posts that somebody here watches.', () => fanout.watchedPosts);
  }

  ingest(ingest: Ingest): void {
    const { stats } = ingest;
    this.gauge('tallycast_pending_operations', 'Operations taken in and not yet committed.', () => ingest.pending);
    this.counter('tallycast_commit_retries_total', 'Batches sent to the store again.', () => stats.retries);
    this.gauge(
      'tallycast_retained_operations',
      'Operations of confirmed batches that are kept here in case a failover loses them.',
      () => ingest.retained,
    );
    this.counter(
      'tallycast_replayed_batches_total',
      'Confirmed batches that the store had lost and that changed it when they were sent again.',
      () => stats.replayedBatches,
    );
    this.counter(
      'tallycast_lost_batches_total',
      'Confirmed batches that the store had lost and that were not kept here any more: what they counted is lost.',
      () => stats.lostBatches,
    );
    this.counter(
      'tallycast_unconfirmed_operations_total',
      'Operations that were sent, and of which it will never be known whether they were counted.',
      () => stats.unconfirmedOperations,
    );
  }

  shortcuts(shortcuts: Shortcuts): void {
    new Gauge({
      name: 'tallycast_shortcut',
      help: '1 while a shortcut past a public interface is on, 0 if its proof at boot or a later use failed. With several workers, of the one that does worst.',
      labelNames: ['name'],
      registers: [this.registry],
      aggregator: 'min',
      collect() {
        for (const { name, isOn: on } of shortcuts.all) this.set({ name }, on ? 1 : 0);
      },
    });
  }

  keySet(keys: KeySet): void {
    new Gauge({
      name: 'tallycast_key_set_up',
      help: '1 unless the last fetch of JWT_JWKS_URL failed. With several workers, of the one that does worst.',
      registers: [this.registry],
      aggregator: 'min',
      collect() {
        this.set(keys.isUp ? 1 : 0);
      },
    });
    new Gauge({
      name: 'tallycast_key_set_age_seconds',
      help: 'Age of the keys of JWT_JWKS_URL that are in use; while they cannot be fetched they are used for a day.',
      registers: [this.registry],
      aggregator: 'max',
      collect() {
        this.set(keys.ageSeconds);
      },
    });
  }

  regions(regions: Replication): void {
    new Gauge({
      name: 'tallycast_replication_link_up',
      help: '1 if the last call to the peer succeeded, 0 if not. With several workers, the lowest value.',
      labelNames: ['peer'],
      registers: [this.registry],
      aggregator: 'min',
      collect() {
        for (const { region, sinceMs, up } of regions.linkStatuses()) {
          // A worker that leases no buckets does not call the peer.
          if (sinceMs !== null) this.set({ peer: region }, up ? 1 : 0);
        }
      },
    });
    new Gauge({
      name: 'tallycast_replication_lag_seconds',
      help: 'Age of the oldest change that the peer lacks; 0 if it has all; NaN while unknown.',
      labelNames: ['peer'],
      registers: [this.registry],
      aggregator: 'max',
      collect() {
        for (const { region, lagSeconds } of regions.linkStatuses()) this.set({ peer: region }, lagSeconds ?? NaN);
      },
    });
    new Gauge({
      name: 'tallycast_replication_lag_changes',
      help: 'Changed posts and toggles that the peer lacks; NaN while unknown: after a start and during a full sync.',
      labelNames: ['peer'],
      registers: [this.registry],
      collect() {
        for (const { region, lagChanges } of regions.linkStatuses()) this.set({ peer: region }, lagChanges ?? NaN);
      },
    });
    new Gauge({
      name: 'tallycast_replication_rejected_buckets',
      help: 'Buckets that the peer rejects: their stamps are ahead of its clock, or their counts are impossible.',
      labelNames: ['peer'],
      registers: [this.registry],
      collect() {
        for (const { region, rejectedBuckets } of regions.linkStatuses()) this.set({ peer: region }, rejectedBuckets);
      },
    });
    this.#regionCounters(regions);
  }

  #regionCounters(regions: Replication): void {
    const counter = (
      name: string,
      help: string,
      read: () => Iterable<readonly [peer: string, count: number]>,
    ): void => {
      new Counter({
        name,
        help,
        labelNames: ['peer'],
        registers: [this.registry],
        collect() {
          this.reset();
          for (const [peer, count] of read()) this.inc({ peer }, count);
        },
      });
    };
    counter(
      'tallycast_replication_rejected_deltas_total',
      'Deltas that the peer rejected, because their incarnation is over.',
      () => regions.linkStatuses().map(({ region, rejectedDeltas }) => [region, rejectedDeltas]),
    );
    counter(
      'tallycast_replication_incarnations_started_total',
      'Incarnations of buckets started because the peer had seen a later one.',
      () => regions.linkStatuses().map(({ region, incarnationsStarted }) => [region, incarnationsStarted]),
    );
    counter(
      'tallycast_replication_full_syncs_total',
      'Full syncs of buckets to the peer, which had been down or is new.',
      () => regions.linkStatuses().map(({ region, fullSyncs }) => [region, fullSyncs]),
    );
    counter(
      'tallycast_replication_rejections_total',
      'Deltas of the peer rejected here: stamps ahead of the clock, or impossible counts.',
      () => regions.linkStatuses().map(({ region, rejections }) => [region, rejections]),
    );
    counter('tallycast_replication_sent_bytes_total', 'Bytes of requests to the peer, headers included.', () =>
      regions.peers.map(({ region, stats }) => [region, stats.bytesSent]),
    );
  }
}
