import type { Clock } from '../common/clock.js';
import type { ActorKeys } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import type { ReplicatedStore } from '../store/replicated-store.js';
import { HttpPeer } from './transport/http-peer.js';
import type { PeerAddress } from '../config/peer-urls.js';
import type { Replication } from './regions.js';
import { PushRequests } from './transport/request-splitter.js';
import { DeltaValidation } from './transport/delta-validation.js';
import { Replicator } from './replicator.js';

export interface ReplicationOptions {
  readonly region: string;
  readonly peers: readonly PeerAddress[];
  readonly peerToken: string;
  readonly replicationIntervalMs: number;
  readonly buckets: number;
  readonly actorKeys: ActorKeys;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly random: () => number;
  /** Told what an operator should know. */
  readonly warn: (message: string) => void;
}

/** Makes a store one of several regions: from now on it ships what it counts, and merges what the others do. */
export function startReplication(store: ReplicatedStore, options: ReplicationOptions): Replication {
  const {
    region,
    peerToken: token,
    replicationIntervalMs: intervalMs,
    buckets,
    actorKeys,
    metrics,
    clock,
    random,
    warn,
  } = options;
  const rules = new DeltaValidation(buckets, actorKeys, metrics);
  const requests = new PushRequests();
  const peers = options.peers.map(
    (address) => new HttpPeer(address, { region, token, validation: rules, requests, clock }),
  );
  const replicator = new Replicator(store, peers, clock, { intervalMs, buckets, random, warn });
  replicator.start();
  return {
    peerService: replicator,
    get backfilling() {
      return replicator.backfilling;
    },
    linkStatuses: () => replicator.linkStatuses(),
    peers,
    async close() {
      await replicator.close();
      for (const peer of peers) peer.close();
    },
  };
}
