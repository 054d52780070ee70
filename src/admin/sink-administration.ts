import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import { ProtocolError } from '../protocol/errors.js';
import { SinkError } from '../sinks/sink.js';
import { type Sinks, SINKS_DUTY } from '../sinks/start-sinks.js';
import type { ChangeStore } from '../store/change-store.js';

/** A lease ends 2 s after its last renewal. */
const LEASE_END_MAX_MS = 3_000;
const LEASE_CHECK_MS = 250;

/** Changes of the sinks of a gateway by operators. */
export class SinkAdministration {
  constructor(
    private readonly store: ChangeStore,
    private readonly sinks: Sinks,
    private readonly clock: Clock,
  ) {}

  /** Ends the recording of changes. @throws ProtocolError while a gateway feeds sinks, because it would start it again */
  async off(): Promise<void> {
    if (this.sinks.feeders.length > 0) {
      throw new ProtocolError('BAD_REQUEST', 'this gateway has SINK_URL: restart all gateways without it first');
    }
    if (!(await this.#isLeaseFree())) {
      throw new ProtocolError(
        'BAD_REQUEST',
        'another gateway feeds sinks: restart all gateways without SINK_URL first',
      );
    }
    await this.store.stopRecording();
  }

  /** Lets the sinks follow the store, even if it has less than they. @returns their names */
  async adopt(): Promise<string[]> {
    const { feeders } = this.#requireSinks();
    for (const feeder of feeders) await reportSinkErrors(feeder.adopt());
    return feeders.map(({ status }) => status.name);
  }

  /** Writes rows again that sinks rejected. @returns how many there were */
  async retryDead(): Promise<number> {
    let rows = 0;
    for (const feeder of this.#requireSinks().feeders) rows += await reportSinkErrors(feeder.retryDead());
    return rows;
  }

  /** Waits for the end of a lease whose gateway has ended. */
  async #isLeaseFree(): Promise<boolean> {
    const endMs = this.clock.nowMs() + LEASE_END_MAX_MS;
    while (!(await this.store.acquireLease(SINKS_DUTY))) {
      if (this.clock.nowMs() >= endMs) return false;
      await sleep(this.clock, LEASE_CHECK_MS);
    }
    return true;
  }

  #requireSinks(): Sinks {
    if (this.sinks.feeders.length > 0) return this.sinks;
    throw new ProtocolError('BAD_REQUEST', 'this gateway has no SINK_URL: use a gateway that has it');
  }
}

/** @throws ProtocolError for a sink that is down or set up wrong; other errors as they are */
async function reportSinkErrors<T>(response: Promise<T>): Promise<T> {
  try {
    return await response;
  } catch (error) {
    if (error instanceof SinkError) throw new ProtocolError('UNAVAILABLE', error.message);
    throw error;
  }
}
