import { type Clock, systemClock } from '../../src/common/clock.js';

/** Deadlines for replies are this long or longer; retries, probes and sweeps are shorter. */
const DEADLINES_FROM_MS = 1_500;
const TIMES_LONGER = 20;

/** The system's clock with deadlines so long that a slow machine does not reach them. */
export const patientClock: Clock = {
  ...systemClock,
  after: (ms, call) => systemClock.after(ms < DEADLINES_FROM_MS ? ms : ms * TIMES_LONGER, call),
};
