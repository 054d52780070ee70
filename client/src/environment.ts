/** What the client needs of the world around it, passed in, so that it also runs on a server and in a simulated world. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since whenever, those included in which the computer slept. */
  nowMs(): number;
  /** Calls back once, `ms` from now. */
  after(ms: number, call: () => void): Timer;
  /** Calls back once before the next frame is drawn, or, where none is drawn, within FRAME_MS. */
  frame(call: () => void): void;
}

/** The page that shows the counts. */
interface Page {
  readonly hidden: boolean;
  /** Calls back at every change of `hidden`, and when the network is back; gives back the way to stop. */
  onChange(call: () => void): () => void;
}

export interface Environment {
  readonly clock: Clock;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** Where the actor is kept; without it an actor lives as long as its client. */
  readonly storage: Pick<Storage, 'getItem' | 'setItem'> | undefined;
  /** Without one the client never sleeps. */
  readonly page: Page | undefined;
  readonly fetch: typeof fetch;
  /** Without one (Node.js before 22 has none) the client uses Server-Sent Events and HTTP. */
  readonly WebSocket: typeof WebSocket | undefined;
}

/** A frame at 60 a second. */
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

/** This browser, or as much of one as there is. */
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
  // Node has a localStorage that warns at the touch of it, and a browser that blocks site data throws.
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
