/** What a fast computer writes in a frame; a tick of the gateway may change more, and the rest follows in the next ones. */
const WRITES_MOST = 400;
/** A frame that took longer than one of 50 a second is late. */
const LATE_MS = 20;
const PACE_LEAST = 1 / 32;
const PACE_STEP = 1 / 100;

const waiting = new Set<() => void>();
let isRunning = false;
let lastMs = 0;
/**
 * How much of what could be done in a frame is done: halved by every late frame, and slowly more while they are on time, so
 * that a page stays smooth however many of its numbers change. What has to wait is not queued up: when its turn comes, the
 * number of that moment is written.
 */
let pace = 1;

/** From more than 0 to 1: the less, the less is to be moved for show. */
export function currentRenderShare(): number {
  return pace;
}

/** Calls `write` in a coming frame, once, however often it was asked to. Nobody else writes to the widgets' DOM. */
export function scheduleWrite(write: () => void): void {
  waiting.add(write);
  if (isRunning) return;
  isRunning = true;
  lastMs = 0;
  requestAnimationFrame(frame);
}

export function cancelWrite(write: () => void): void {
  waiting.delete(write);
}

/** Runs once more than there is something to write, to see how long the last writes took. */
function frame(nowMs: number): void {
  if (lastMs > 0) pace = nowMs - lastMs > LATE_MS ? Math.max(PACE_LEAST, pace / 2) : Math.min(1, pace + PACE_STEP);
  lastMs = nowMs;
  isRunning = waiting.size > 0;
  if (!isRunning) return;
  requestAnimationFrame(frame);
  let left = Math.ceil(WRITES_MOST * pace);
  for (const write of waiting) {
    if (left-- === 0) break;
    waiting.delete(write);
    write();
  }
}
