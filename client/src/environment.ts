/** The client's surroundings are passed in, so that it also runs on a server and in a simulated world. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since a fixed moment, including the time that the computer slept. */
  nowMs(): number;
  /** Calls back once, `ms` from now. */
  after(ms: number, call: () => void): Timer;
  /** Calls back once before the next animation frame, or within FRAME_MS if none is drawn. */
  frame(call: () => void): void;
}

/** The page that shows the counts. */
interface Page {
  readonly hidden: boolean;
  /**
   * Calls back at every change of `hidden`, and when the network is back.
   * @returns a function that ends the calls
   */
  onChange(call: () => void): () => void;
}

export interface Environment {
  readonly clock: Clock;
  /** Returns a number from 0 to below 1. */
  readonly random: () => number;
  /** Keeps the actor; without it each client has a new one. */
  readonly storage: Pick<Storage, 'getItem' | 'setItem'> | undefined;
  /** Without a page the client never sleeps. */
  readonly page: Page | undefined;
  readonly fetch: typeof fetch;
  /** Without a WebSocket (Node.js before 22 has none) the client uses Server-Sent Events and HTTP. */
  readonly WebSocket: typeof WebSocket | undefined;
}

/** One animation frame at 60 Hz. */
const FRAME_MS = 16;

const systemClock: Clock = {
  nowMs: Date.now,
  after(ms, call) {
    const handle = setTimeout(call, ms);
    return { cancel: () => clearTimeout(handle) };
  },
  frame(call) {
    // A hidden page draws no frames.
    if (typeof document !== 'undefined' && !document.hidden) requestAnimationFrame(call);
    else setTimeout(call, FRAME_MS);
  },
};

/** The browser's functions, as far as they exist here. */
export function systemEnvironment(): Environment {
  return {
    clock: systemClock,
    random: Math.random,
    storage: browserStorage(),
    page: typeof document === 'undefined' ? undefined : documentPage(document),
    fetch: (input, init) => fetch(input, init),
    WebSocket: typeof WebSocket === 'undefined' ? undefined : WebSocket,
  };
}

function browserStorage(): Storage | undefined {
  // Reading Node's localStorage prints a warning, and a browser that blocks site data throws.
  if (typeof document === 'undefined') return undefined;
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}

function documentPage(document: Document): Page {
  return {
    get hidden() {
      return document.hidden;
    },
    onChange(call) {
      const stop = new AbortController();
      document.addEventListener('visibilitychange', call, stop);
      addEventListener('online', call, stop);
      return () => stop.abort();
    },
  };
}
