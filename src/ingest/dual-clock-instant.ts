import type { Clock } from '../common/clock.js';

/** A time on both clocks: the monotonic one may stop while the process or its machine sleeps, the wall clock may be set. */
export interface Instant {
  readonly nowMs: number;
  readonly wallMs: number;
}

export function readInstant(clock: Clock): Instant {
  return { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
}

/** The age of the instant, on the clock on which it is older. */
export function ageMs(clock: Clock, { nowMs, wallMs }: Instant): number {
  return Math.max(clock.nowMs() - nowMs, clock.wallMs() - wallMs);
}
