import { Inject, Injectable } from '@nestjs/common';
import { REPLICATION } from '../config/injection-tokens.js';
import { Ingest } from '../ingest/ingest.js';
import { MilestoneWaits } from '../ingest/milestone-waits.js';
import { OperationCounts } from '../ingest/operation-counts.js';
import type { Replication } from '../replication/start-replication.js';
import { Prometheus } from './prometheus.js';

/** Registers the series about operations that one region does for another, on a gateway that has other regions. */
@Injectable()
export class ForwardingInstruments {
  constructor(
    @Inject(Prometheus) private readonly prometheus: Prometheus,
    @Inject(REPLICATION) { peers }: Replication,
    @Inject(Ingest) ingest: Ingest,
    @Inject(OperationCounts) counts: OperationCounts,
    @Inject(MilestoneWaits) waits: MilestoneWaits,
  ) {
    if (peers.length === 0) return;
    this.#addOperations(ingest, counts);
    this.#addWaits(waits);
  }

  #addOperations(ingest: Ingest, { fromPeers }: OperationCounts): void {
    this.prometheus.addLabeledCounter(
      'tallycast_forwarded_operations_total',
      'Operations that other regions have forwarded to this gateway, by result; tallycast_operations_total counts them where their clients are.',
      ['result'],
      () => Array.from(fromPeers, ([result, count]) => [{ result }, count] as const),
    );
    this.prometheus.addGauge(
      'tallycast_forwarding_operations',
      'Operations on their way to the region that decides about a milestone.',
      () => ingest.forwarding,
    );
  }

  #addWaits(waits: MilestoneWaits): void {
    this.prometheus.addLabeledGauge(
      'tallycast_milestone_waits',
      'Metrics of posts that are not counted near a milestone before the peer answers, or confirms who counts them.',
      ['peer'],
      () => Array.from(waits.entries(), ({ region, count }) => [{ peer: region }, count] as const),
    );
    this.prometheus.addLabeledGauge(
      'tallycast_milestone_wait_seconds',
      'How long the first of these has waited for the peer. With several workers: the longest.',
      ['peer'],
      () => Array.from(waits.entries(), ({ region, seconds }) => [{ peer: region }, seconds] as const),
      'max',
    );
  }
}
