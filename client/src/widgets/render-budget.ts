/** Writes in one animation frame on a fast computer. A tick may change more; the rest is written in the next frames. */
const WRITES_MAX = 400;
/** An animation frame is late if it took longer than 1/50 s. */
const LATE_MS = 20;
const SHARE_MIN = 1 / 32;
const SHARE_STEP = 1 / 100;

const waiting = new Set<() => void>();
let isRunning = false;
let lastMs = 0;
/**
 * The used share of what could be written in an animation frame. Every late frame halves it, and frames on time raise it
 * slowly, so that a page stays smooth however many of its numbers change. Changes that wait are conflated: a widget
 * writes its newest number.
 */
let renderShare = 1;

/** From above 0 to 1; also limits how many digits may roll. */
export function currentRenderShare(): number {
  return renderShare;
}

/** A DOM that draws nothing, such as jsdom, has no animation frames. */
function nextFrame(call: (nowMs: number) => void): void {
  if (typeof requestAnimationFrame === 'undefined') setTimeout(() => call(performance.now()), 16);
  else requestAnimationFrame(call);
}

/** Calls `write` once in a coming animation frame, however often it is scheduled. Only these calls write to the DOM. */
export function scheduleWrite(write: () => void): void {
  waiting.add(write);
  if (isRunning) return;
  isRunning = true;
  lastMs = 0;
  nextFrame(writeFrame);
}

export function cancelWrite(write: () => void): void {
  waiting.delete(write);
}

/** Runs once more after the last write, to measure how long that write took. */
function writeFrame(nowMs: number): void {
  if (lastMs > 0)
    renderShare =
      nowMs - lastMs > LATE_MS ? Math.max(SHARE_MIN, renderShare / 2) : Math.min(1, renderShare + SHARE_STEP);
  lastMs = nowMs;
  isRunning = waiting.size > 0;
  if (!isRunning) return;
  nextFrame(writeFrame);
  let left = Math.ceil(WRITES_MAX * renderShare);
  for (const write of waiting) {
    if (left-- === 0) break;
    waiting.delete(write);
    write();
  }
}
