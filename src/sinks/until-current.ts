import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import { compareIncarnations } from '../counters/pn-counter.js';
import type { ChangePage, ChangeStore } from '../store/change-store.js';
import { type Sink, SinkError } from './sink.js';

/** The positions of the sink are read again after this, … */
const PAUSE_MS = 250;
/** … this often. */
const TRIES_MAX = 120;
/** Above every seq: what a store returns for it has no posts. */
const NO_POSTS_AFTER = 2 ** 52;

interface UntilCurrentOptions {
  readonly clock: Clock;
  /** Ends the waiting early. */
  readonly signal: AbortSignal;
}

/** How far the store is now with some buckets: pages without posts. */
export async function readProgress(
  store: Pick<ChangeStore, 'changesSince'>,
  buckets: ReadonlySet<number>,
): Promise<readonly ChangePage[]> {
  if (buckets.size === 0) return [];
  const requests = [...buckets].map((bucket) => ({ bucket, after: NO_POSTS_AFTER }));
  return await store.changesSince(requests, { limit: 1, withMembers: false });
}

/** Resolves when a sink has what the store had of some buckets when this was called. @throws SinkError if that takes half a minute */
export async function untilCurrent(
  store: Pick<ChangeStore, 'changesSince'>,
  sink: Pick<Sink, 'name' | 'readPositions'>,
  buckets: ReadonlySet<number>,
  { clock, signal }: UntilCurrentOptions,
): Promise<void> {
  const wanted = await readProgress(store, buckets);
  for (let tries = 0; tries < TRIES_MAX && !signal.aborted; tries++) {
    const positions = await sink.readPositions();
    const isCurrent = wanted.every(({ bucket, starts, upTo }) => {
      const position = positions.get(bucket);
      if (position === undefined) return false;
      const order = compareIncarnations(position, starts.at(-1)!);
      return order === 'newer' || (order === 'same' && position.upTo >= upTo);
    });
    if (isCurrent) return;
    await sleep(clock, PAUSE_MS);
  }
  const message =
    `${sink.name} does not get what the store has: see tallycast_sink_up and tallycast_sink_halted; ` +
    'if a full sync goes on, as after a repair, run the audit again when tallycast_sink_lag_seconds is low';
  throw new SinkError(message, false);
}
