import { type Clock, systemClock } from '../../src/common/clock.js';

/** Deadlines for an answer are this long or longer; retries, probes and sweeps come sooner. */
const DEADLINES_FROM_MS = 1_500;
const TIMES_LONGER = 20;

/** The system's clock on which deadlines last so long that a slow machine does not meet them. */
export const patientClock: Clock = {
  ...systemClock,
  after: (ms, call) => systemClock.after(ms < DEADLINES_FROM_MS ? ms : ms * TIMES_LONGER, call),
};
