import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { ChangeStore } from '../store/change-store.js';
import { type AuditedSink, isAudited } from './audited-sink.js';
import { BackgroundAudit } from './background-audit.js';
import { createSink, type SinkSettings } from './create-sink.js';
import { Feeder } from './feeder.js';
import { Lease } from '../store/lease.js';
import type { PositionStore } from './stored-positions.js';

/**
 * The duty of one of the gateways that feed sinks. It entitles to nothing, and says that there are such gateways. Those with another SINK_URL
 * feed at the same time, so each sink has a duty of its own besides.
 */
export const SINKS_DUTY = 'sinks';
/** How long the last writes to all sinks may take when the gateway ends: a sink may be down, and the store has to be closed. */
const CLOSE_MAX_MS = 5_000;

export interface SinksOptions extends SinkSettings {
  readonly urls: readonly URL[];
  /** SINK_MS */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly random: () => number;
}

/** The sinks of a gateway, as operators see them. */
export interface Sinks {
  readonly feeders: readonly Feeder[];
  /** One for each sink that can be compared with the store. */
  readonly audits: readonly BackgroundAudit[];
  /** Connects to the sinks that can be compared with the store once more. The caller closes them. */
  connectAudited(): Promise<AuditedSink[]>;
  /** Writes the last changes to the sinks that are up. */
  close(): Promise<void>;
}

/** Sinks that are checked are not used. */
const NO_POSITIONS: PositionStore = {
  readPositions: () => Promise.reject(new Error('no store is open')),
  savePositions: () => Promise.reject(new Error('no store is open')),
};

/** Sinks of a gateway without SINK_URL. */
export const NO_SINKS: Sinks = {
  feeders: [],
  audits: [],
  connectAudited: () => Promise.resolve([]),
  close: () => Promise.resolve(),
};

/**
 * Finds sinks that cannot be as SINK_URL and METRICS say, before a store is opened for them. Nothing is connected to.
 * @throws Error with one line
 */
export async function checkSinks({ urls, ...settings }: SinkSettings & Pick<SinksOptions, 'urls'>): Promise<void> {
  const sinks = await Promise.all(urls.map((url) => createSink(url, NO_POSITIONS, settings)));
  const names = sinks.map(({ name }) => name);
  const repeated = names.find((name, i) => names.indexOf(name) < i);
  if (repeated !== undefined) throw new Error(`SINK_URL names the sink ${repeated} twice`);
}

/** @param options those that `checkSinks` has found right */
export async function startSinks(store: ChangeStore, options: SinksOptions): Promise<Sinks> {
  const { urls, clock } = options;
  const sinks = await Promise.all(urls.map((url) => createSink(url, store, options)));
  const names = sinks.map(({ name }) => name);
  const common = new Lease(store, SINKS_DUTY, clock);
  const leases = names.map((name) => new Lease(store, `${SINKS_DUTY} ${name}`, clock));
  const feeders = sinks.map((sink, i) => new Feeder(store, sink, leases[i]!, options));
  const audits = feeders.flatMap((feeder, i) => {
    if (!isAudited(sinks[i]!)) return [];
    const connect = (): Promise<AuditedSink> => createSink(urls[i]!, store, options) as Promise<AuditedSink>;
    return [new BackgroundAudit(store, feeder, connect, options)];
  });
  for (const one of [common, ...leases, ...feeders, ...audits]) one.start();
  return {
    feeders,
    audits,
    async connectAudited() {
      const connected = await Promise.all(urls.map((url) => createSink(url, store, options)));
      const audited = connected.filter(isAudited);
      await Promise.all(connected.filter((sink) => !isAudited(sink)).map((sink) => sink.close()));
      return audited;
    },
    async close() {
      const closing = Promise.all([...feeders, ...audits].map((one) => one.close()));
      await Promise.race([closing, sleep(clock, CLOSE_MAX_MS)]);
      for (const lease of [common, ...leases]) lease.close();
    },
  };
}

/** Warns about a store that records changes for sinks, which costs time at each commit, when this gateway has no sinks. */
export async function warnIfRecording(store: ChangeStore, warn: (message: string) => void): Promise<void> {
  // A store that is down now has other warnings.
  const isRecording = await store.isRecording().catch(() => false);
  if (isRecording) {
    warn(
      'the store records changes for sinks, but SINK_URL is not set: set it, or run tallycast sink off to end the recording',
    );
  }
}
