const ASK_AGAIN_MS = 10;
/** A guard against hanging, shorter than Jest's so that the condition is named. */
export const LIMIT_MS = 100_000;

/** Asks until `reached` is true, and fails when it does not come. */
export async function until(
  reached: () => Promise<boolean> | boolean,
  what: string,
  limitMs = LIMIT_MS,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await reached())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}
