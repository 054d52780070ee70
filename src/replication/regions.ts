import type { HttpPeer } from './transport/http-peer.js';
import type { LinkStatus, PeerService } from './transport/peer.js';

/** This region among others, as HTTP and operators see it. */
export interface Replication {
  /** Answers the peers. */
  readonly peerService: PeerService;
  /** The store was found to lack something, and is being filled with what the peers know. */
  readonly backfilling: boolean;
  /** Of the link to each peer. */
  linkStatuses(): readonly LinkStatus[];
  readonly peers: readonly HttpPeer[];
  /** Tells the peers what was changed last. */
  close(): Promise<void>;
}
