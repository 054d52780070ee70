import type { Operation } from '../counters/operation.js';
import type { ForwardedOperation } from '../counters/replication/forwarded-operation.js';
import type { Forwarding, WaitReason } from '../ingest/forwarding.js';
import type { MilestoneStore } from '../store/milestone-store.js';
import type { DecidingPeer } from '../replication/transport/peer.js';

/** Forwards operations to the regions that decide about their metrics. */
export class RegionForwarding implements Forwarding {
  constructor(
    private readonly milestones: MilestoneStore,
    private readonly peers: readonly DecidingPeer[],
  ) {}

  /** A region that is no longer in PEERS cannot do anything: its operations wait until the home is taken over. */
  async forwardTo(operations: readonly Operation[]): Promise<readonly (string | null)[]> {
    const regions = await this.milestones.forwardTo(operations);
    return regions.map((region) => (this.#findPeer(region) === undefined ? null : region));
  }

  async forward(region: string, operations: readonly ForwardedOperation[]): Promise<readonly number[]> {
    return this.#findPeer(region)!.forward(operations);
  }

  async findWaitReason(operation: Operation): Promise<WaitReason> {
    const { post, metric } = operation;
    try {
      const [region = null] = await this.milestones.forwardTo([operation]);
      if (region !== null && this.#findPeer(region) === undefined) return { regions: [region], cause: 'removed' };
      const { waitingFor } = await this.milestones.read(post, metric);
      return { regions: waitingFor, cause: 'unconfirmed' };
    } catch {
      return { regions: [], cause: 'unconfirmed' };
    }
  }

  #findPeer(region: string | null): DecidingPeer | undefined {
    return this.peers.find((peer) => peer.region === region);
  }
}
