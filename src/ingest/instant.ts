import type { Clock } from '../common/clock.js';

/** A moment on both clocks: one may stand still while a process or its machine sleeps, the other may be set. */
export interface Instant {
  readonly nowMs: number;
  readonly wallMs: number;
}

export function readInstant(clock: Clock): Instant {
  return { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
}

/** How long ago it was, by the clock on which that is longer. */
export function ageMs(clock: Clock, { nowMs, wallMs }: Instant): number {
  return Math.max(clock.nowMs() - nowMs, clock.wallMs() - wallMs);
}
