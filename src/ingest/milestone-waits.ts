import type { Observable } from 'rxjs';
import type { Clock } from '../common/clock.js';
import type { Metrics } from '../counters/metrics.js';
import type { Operation } from '../counters/operation.js';
import type { CommittedBatch, ForwardedOutcome, StalledOperation } from './ingest-events.js';

/** Metrics of posts that wait at a time. More are not reported. */
const WAITS_MAX = 1_000;
/** Clients retry much sooner. Without a retry nobody waits any more. */
const FORGOTTEN_MS = 60_000;
/** A home waits this long for its confirmations, even if all is well. */
const LOGGED_AFTER_MS = 2_000;

/** A log that bounds how often it has a line about a subject. */
interface BoundedLog {
  /** @returns whether it was written */
  warn(subject: string, message: string): boolean;
}

/** The part of ingest that reports operations near milestones. */
interface ForwardingEvents {
  readonly stalled: Observable<StalledOperation>;
  readonly forwarded: Observable<ForwardedOutcome>;
  readonly committed: Observable<Pick<CommittedBatch, 'operations'>>;
}

interface Wait {
  regions: readonly string[];
  readonly sinceMs: number;
  lastMs: number;
  isLogged: boolean;
}

/** Which metrics of posts wait for other regions near a milestone, for operators. Costs nothing while none waits. */
export class MilestoneWaits {
  /** By metric and post; at most WAITS_MAX. */
  readonly #waits = new Map<string, Wait>();

  constructor(
    { stalled, forwarded, committed }: ForwardingEvents,
    private readonly metrics: Metrics,
    private readonly clock: Pick<Clock, 'nowMs'>,
    private readonly log: BoundedLog,
  ) {
    stalled.subscribe((one) => this.#begin(one));
    forwarded.subscribe(({ operation }) => this.#end(operation));
    committed.subscribe(({ operations }) => {
      if (this.#waits.size === 0) return;
      // At a home that waits, what takes away is counted all the same.
      for (const operation of operations) if (operation.value > 0) this.#end(operation);
    });
  }

  /** How many wait for each region, and for how long the first of them has, in seconds. */
  *entries(): Iterable<{ readonly region: string; readonly count: number; readonly seconds: number }> {
    this.#forget();
    const nowMs = this.clock.nowMs();
    const byRegion = new Map<string, { count: number; sinceMs: number }>();
    for (const { regions, sinceMs } of this.#waits.values()) {
      for (const region of regions) {
        const { count, sinceMs: first } = byRegion.get(region) ?? { count: 0, sinceMs };
        byRegion.set(region, { count: count + 1, sinceMs: Math.min(first, sinceMs) });
      }
    }
    for (const [region, { count, sinceMs }] of byRegion) yield { region, count, seconds: (nowMs - sinceMs) / 1_000 };
  }

  #begin({ operation, regions, cause }: StalledOperation): void {
    const name = toName(operation);
    const nowMs = this.clock.nowMs();
    let wait = this.#waits.get(name);
    if (wait === undefined) {
      this.#forget();
      if (this.#waits.size >= WAITS_MAX) return;
      wait = { regions, sinceMs: operation.acceptedAtMs, lastMs: nowMs, isLogged: false };
    }
    wait.regions = regions;
    wait.lastMs = nowMs;
    // The one that has waited for a retry longest comes first.
    this.#waits.delete(name);
    this.#waits.set(name, wait);
    if (wait.isLogged || nowMs - wait.sinceMs < LOGGED_AFTER_MS) return;
    // Else one of the next retries is logged.
    wait.isLogged = this.log.warn(name, `${this.#describe(operation, wait)}: ${describeRemedy(regions, cause)}`);
  }

  #end(operation: Operation): void {
    const name = toName(operation);
    const wait = this.#waits.get(name);
    if (wait === undefined) return;
    this.#waits.delete(name);
    if (wait.isLogged) this.log.warn(`${name} again`, `${this.#describe(operation, wait)}, and is counted again`);
  }

  #describe({ post, metric }: Operation, { regions, sinceMs }: Wait): string {
    const { name } = this.metrics.list[metric]!;
    const seconds = Math.round((this.clock.nowMs() - sinceMs) / 1_000);
    return `${name} of post ${post} has waited ${seconds} s for ${describeRegions(regions)} near a milestone`;
  }

  #forget(): void {
    const endMs = this.clock.nowMs() - FORGOTTEN_MS;
    for (const [name, { lastMs }] of this.#waits) {
      if (lastMs > endMs) return;
      this.#waits.delete(name);
    }
  }
}

function toName({ post, metric }: Operation): string {
  return `${metric} ${post}`;
}

function describeRegions(regions: readonly string[]): string {
  return regions.length === 0 ? 'other regions' : `region ${regions.join(', ')}`;
}

function describeRemedy(regions: readonly string[], cause: StalledOperation['cause']): string {
  const names = regions.length === 0 ? 'the others' : regions.join(', ');
  switch (cause) {
    case 'unconfirmed':
      return `make ${names} reachable, remove what is lost for good from PEERS, or disarm with DELETE /admin/milestones`;
    case 'silent':
      return `make ${names} reachable, or take over with PUT /admin/milestones and home set to this region`;
    case 'removed':
      return `${names} is not in PEERS, so take over with PUT /admin/milestones and home set to this region, or list it again`;
    case 'waiting':
      return `the log of ${names} says which regions it waits for itself`;
  }
}
