import type { Clock } from '../common/clock.js';
import type { PeerAddress } from '../config/peer-urls.js';
import type { ActorKeys } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import type { ReplicatedStore } from '../store/replicated-store.js';
import { Replicator } from './replicator.js';
import { DeltaValidation } from './transport/delta-validation.js';
import { HttpPeer } from './transport/http-peer.js';
import type { LinkStatus, PeerService } from './transport/peer.js';
import { PushRequests } from './transport/request-splitter.js';

export interface ReplicationOptions {
  readonly region: string;
  readonly peers: readonly PeerAddress[];
  readonly peerToken: string;
  readonly replicationIntervalMs: number;
  readonly buckets: number;
  readonly actorKeys: ActorKeys;
  readonly metrics: Metrics;
  /** LOG_URL */
  readonly log: unknown;
  readonly clock: Clock;
  readonly random: () => number;
  /** Logs a line for operators. */
  readonly warn: (message: string) => void;
}

/** Replication with the other regions, as HTTP and operators see it. */
export interface Replication {
  /** Serves the peers. */
  readonly peerService: PeerService;
  /** The store lost history and gets it back from the peers. */
  readonly isBackfilling: boolean;
  /** The state of the link to each peer. */
  linkStatuses(): readonly LinkStatus[];
  readonly peers: readonly HttpPeer[];
  /** Pushes the last changes to the peers. */
  close(): Promise<void>;
}

/** Replication of a gateway without peers. Its service is never called, because PeerAuthentication lets nobody through. */
export const NO_REPLICATION: Replication = {
  peerService: {
    mergeFrom: () => Promise.resolve([]),
    compareDigests: () => Promise.resolve([]),
    readPosts: () => Promise.resolve([]),
  },
  isBackfilling: false,
  linkStatuses: () => [],
  peers: [],
  close: () => Promise.resolve(),
};

/** Connects a store to its peers: from now on its changes are pushed to them, and theirs are merged. */
export function startReplication(store: ReplicatedStore, options: ReplicationOptions): Replication {
  const { region, peerToken: token, buckets, actorKeys, metrics, clock, random, warn } = options;
  const hasLog = options.log !== null;
  const validation = new DeltaValidation(buckets, actorKeys, metrics);
  const requests = new PushRequests();
  const peers = options.peers.map((address) => new HttpPeer(address, { region, token, validation, requests, clock }));
  const intervalMs = options.replicationIntervalMs;
  const replicator = new Replicator(store, peers, clock, { intervalMs, buckets, metrics, hasLog, random, warn });
  replicator.start();
  return {
    peerService: replicator,
    get isBackfilling() {
      return replicator.isBackfilling;
    },
    linkStatuses: () => replicator.linkStatuses(),
    peers,
    async close() {
      await replicator.close();
      for (const peer of peers) peer.close();
    },
  };
}
