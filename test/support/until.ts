/** Asking costs the processes under test their time: the longer something takes, the less often it is asked. */
const ASK_AGAIN_MIN_MS = 10;
const ASK_AGAIN_MAX_MS = 200;
/** This part of the time that has passed: a condition is noticed that much later at most. */
const ASK_AGAIN_PART = 0.1;
/** A guard against hanging, shorter than Jest's so that the condition is named. */
export const LIMIT_MS = 100_000;

/** Asks until `reached` is true, and fails when it does not come. */
export async function until(
  reached: () => Promise<boolean> | boolean,
  what: string,
  limitMs = LIMIT_MS,
): Promise<void> {
  const startMs = performance.now();
  while (!(await reached())) {
    const passedMs = performance.now() - startMs;
    if (passedMs > limitMs) throw new Error(`${what}: not within ${limitMs} ms`);
    const askAgainMs = Math.min(ASK_AGAIN_MAX_MS, Math.max(ASK_AGAIN_MIN_MS, passedMs * ASK_AGAIN_PART));
    await new Promise((resolve) => setTimeout(resolve, askAgainMs));
  }
}
