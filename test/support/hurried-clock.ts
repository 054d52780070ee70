import { type Clock, systemClock } from '../../src/common/clock.js';

const TIMES_SHORTER = 20;

/** The system's clock with shorter pauses and deadlines, for tests in which most of them pass. */
export const hurriedClock: Clock = {
  ...systemClock,
  after: (ms, call) => systemClock.after(ms / TIMES_SHORTER, call),
};
