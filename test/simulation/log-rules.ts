import { type BucketBatch, type BucketEntry, buildBatch } from '../../src/log/bucket-batch.js';
import { READER_RULES, type ReaderRules } from '../../src/log/partition-reader.js';

/** Few, so that batches and pages have limits within a history of few events. */
const OPERATIONS_MAX = 4;
const PAGE_EVENTS_MAX = 8;

/** The rules of a history. A planted fault replaces one of them. */
export interface LogWorldRules {
  readonly reader: ReaderRules;
  /** Whether applied entries are kept for a time. */
  readonly keepsApplied: boolean;
  /** Whether a position is written together with the effect of its batch. */
  readonly movesPositionAtomically: boolean;
  /** Whether positions are kept for good. */
  readonly keepsPositions: boolean;
  /** Whether a batch is applied only at the position that it continues at. */
  readonly checksPosition: boolean;
  /** Whether a log that starts again has offsets of its own. */
  readonly startsIncarnations: boolean;
}

export const LOG_WORLD_RULES: LogWorldRules = {
  reader: { ...READER_RULES, operationsMax: OPERATIONS_MAX, pageEventsMax: PAGE_EVENTS_MAX },
  keepsApplied: true,
  movesPositionAtomically: true,
  keepsPositions: true,
  checksPosition: true,
  startsIncarnations: true,
};

/** The faults that the simulation has to find. */
export const LOG_PLANTS: Readonly<Record<string, LogWorldRules>> = {
  'a position is written after its batch': { ...LOG_WORLD_RULES, movesPositionAtomically: false },
  'positions expire as producer states do': { ...LOG_WORLD_RULES, keepsPositions: false },
  'the store ignores the position at which a batch continues': { ...LOG_WORLD_RULES, checksPosition: false },
  'entries are trimmed when they are applied': { ...LOG_WORLD_RULES, keepsApplied: false },
  'offsets are used again after a failover of the log': { ...LOG_WORLD_RULES, startsIncarnations: false },
  'a batch ends inside an entry': withReader({ buildBatch: buildCutBatch }),
  'a batch passes over an entry that it leaves out': withReader({ buildBatch: buildSkippingBatch }),
  'a dead letter is written after its batch': withReader({ writesLettersFirst: false }),
  'positions are not read again without a failure': withReader({ rereadsPositions: false }),
  'events with a key are summed': withReader({ buildBatch: buildSummedBatch }),
  'a batch does not say that it has sums': withReader({ buildBatch: buildSilentBatch }),
  'a batch without sums passes over entries that had room with sums': withReader({ buildBatch: buildTooFarBatch }),
};

function withReader(rules: Partial<ReaderRules>): LogWorldRules {
  return { ...LOG_WORLD_RULES, reader: { ...LOG_WORLD_RULES.reader, ...rules } };
}

/** Fills up a batch with a first piece of the next entry, which then counts as applied. */
function buildCutBatch(...[entries, metrics, operationsMax, sums]: Parameters<typeof buildBatch>): BucketBatch {
  let room = operationsMax;
  const pieces = entries.map(({ offset, events }): BucketEntry => {
    const piece = events.slice(0, room);
    room -= piece.length;
    return { offset, events: piece };
  });
  return buildBatch(
    pieces.filter(({ events }) => events.length > 0),
    metrics,
    operationsMax,
    sums,
  );
}

/** Covers the first entry that is left out, too. */
function buildSkippingBatch(...[entries, ...rest]: Parameters<typeof buildBatch>): BucketBatch {
  const batch = buildBatch(entries, ...rest);
  const next = entries.find(({ offset }) => offset > batch.upTo);
  return next === undefined ? batch : { ...batch, upTo: next.offset };
}

/** Sums additions that have the same session, as if it did not matter. */
function buildSummedBatch(...[entries, ...rest]: Parameters<typeof buildBatch>): BucketBatch {
  const anonymous = entries.map(({ offset, events }): BucketEntry => {
    return { offset, events: events.map((event) => (event.kind === 'add' ? { ...event, session: null } : event)) };
  });
  return buildBatch(anonymous, ...rest);
}

function buildSilentBatch(...args: Parameters<typeof buildBatch>): BucketBatch {
  return { ...buildBatch(...args), hasSums: false };
}

/** Counts as far as the batch with sums did, but has only the events that fit as single operations. */
function buildTooFarBatch(...[entries, metrics, operationsMax, sums]: Parameters<typeof buildBatch>): BucketBatch {
  const { upTo } = buildBatch(entries, metrics, operationsMax);
  return { ...buildBatch(entries, metrics, operationsMax, sums), upTo };
}
