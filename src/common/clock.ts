/** Time, passed in, so that everything above the sockets also runs in a simulated world. */
export interface Clock {
  /** Wall time, milliseconds since 1970. For timestamps only: it may jump. */
  wallMs(): number;
  /** Milliseconds that only grow. For intervals and deadlines. */
  nowMs(): number;
  /** Calls back once, `ms` from now. Timers do not keep the process alive. */
  after(ms: number, call: () => void): Timer;
  /** Calls back once all waiting events have been handled. */
  soon(call: () => void): void;
}

/** Wall time, whole seconds since 1970. */
export function readSecond(clock: Pick<Clock, 'wallMs'>): number {
  return Math.floor(clock.wallMs() / 1_000);
}

export interface Timer {
  cancel(): void;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
  after(ms, call) {
    const handle = setTimeout(call, ms);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  soon: (call) => void setImmediate(call),
};
