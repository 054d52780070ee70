const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

type EndSignal = (typeof SIGNALS)[number];

let current: ((signal: EndSignal) => void) | null = null;

/** Calls `end` on SIGTERM, SIGINT or SIGHUP, once a signal. A later call replaces an earlier one. */
export function onEndSignal(end: (signal: EndSignal) => void): void {
  for (const signal of SIGNALS) {
    if (current !== null) process.off(signal, current);
    process.once(signal, end);
  }
  current = end;
}
