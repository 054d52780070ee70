import type { Clock } from './clock.js';

/**
 * Resolves after `ms`, or at once when the signal is aborted. It does not keep the process alive. With 0 or less it resolves once
 * all waiting events have been handled.
 */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    if (ms <= 0) {
      clock.soon(resolve);
      return;
    }
    const timer = clock.after(ms, () => {
      signal?.removeEventListener('abort', end);
      resolve();
    });
    const end = (): void => {
      timer.cancel();
      resolve();
    };
    signal?.addEventListener('abort', end, { once: true });
  });
}
