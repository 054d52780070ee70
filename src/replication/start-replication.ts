import type { Clock } from '../common/clock.js';
import type { ActorKeys } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import type { ReplicatedStore } from '../store/replicated-store.js';
import { HttpPeer } from './transport/http-peer.js';
import type { PeerAddress } from '../config/peer-urls.js';
import type { Regions } from './regions.js';
import { ShipRequests } from './transport/request-splitter.js';
import { ShipmentRules } from './transport/delta-validation.js';
import { Replicator } from './replicator.js';

export interface JoinOptions {
  readonly region: string;
  readonly peers: readonly PeerAddress[];
  readonly peerToken: string;
  readonly shipMs: number;
  readonly buckets: number;
  readonly actorKeys: ActorKeys;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly random: () => number;
  /** Told what an operator should know. */
  readonly warn: (message: string) => void;
}

/** Makes a store one of several regions: from now on it ships what it counts, and merges what the others do. */
export function startReplication(store: ReplicatedStore, options: JoinOptions): Regions {
  const { region, peerToken: token, shipMs, buckets, actorKeys, metrics, clock, random, warn } = options;
  const rules = new ShipmentRules(buckets, actorKeys, metrics);
  const requests = new ShipRequests();
  const peers = options.peers.map((address) => new HttpPeer(address, { region, token, rules, requests, clock }));
  const shipping = new Replicator(store, peers, clock, { shipMs, buckets, random, warn });
  shipping.start();
  return {
    service: shipping,
    get filling() {
      return shipping.filling;
    },
    status: () => shipping.status(),
    peers,
    async close() {
      await shipping.close();
      for (const peer of peers) peer.close();
    },
  };
}
