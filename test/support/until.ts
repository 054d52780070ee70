/** Checks cost time of the processes under test, so they become rarer the longer the wait takes. */
const POLL_MIN_MS = 20;
const POLL_MAX_MS = 400;
/** The pause as a share of the time waited: a condition is noticed at most this much later. */
const POLL_SHARE = 0.2;
/** A guard against hanging, shorter than Jest's, so that the error names the condition. */
export const LIMIT_MS = 100_000;

/** Checks until `reached` is true. @throws Error that names the condition after `limitMs` */
export async function until(
  reached: () => Promise<boolean> | boolean,
  what: string,
  limitMs = LIMIT_MS,
): Promise<void> {
  const startMs = performance.now();
  while (!(await reached())) {
    const passedMs = performance.now() - startMs;
    if (passedMs > limitMs) throw new Error(`${what}: not within ${limitMs} ms`);
    const pollMs = Math.min(POLL_MAX_MS, Math.max(POLL_MIN_MS, passedMs * POLL_SHARE));
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
