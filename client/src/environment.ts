/** The client's surroundings are passed in, so that it also runs on a server and in a simulated world. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since a fixed moment, including the time that the computer slept. */
  nowMs(): number;
  /** Calls back once, `ms` from now. */
  after(ms: number, call: () => void): Timer;
  /** Calls back once before the next animation frame, or soon if none is drawn. */
  frame(call: () => void): void;
}

/**
 * Why a page calls back. `hidden`, `left`: it may end without another call. It may also come back from `left`, which is then
 * followed by `shown`. `online`: its network is back.
 */
export type PageChange = 'hidden' | 'shown' | 'left' | 'online';

/** The page that shows the counts. */
interface Page {
  readonly hidden: boolean;
  /** @returns a function that ends the calls */
  onChange(call: (change: PageChange) => void): () => void;
}

export interface Environment {
  readonly clock: Clock;
  /** Returns a number from 0 to below 1. */
  readonly random: () => number;
  /** Keeps the actor, and the operations that a page leaves unacknowledged. Without it each client has a new actor. */
  readonly storage: Pick<Storage, 'length' | 'key' | 'getItem' | 'setItem' | 'removeItem'> | undefined;
  /** Keeps which transport got through, as long as the tab is open. */
  readonly sessionStorage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> | undefined;
  /** Without a page the client never sleeps and never leaves. */
  readonly page: Page | undefined;
  readonly fetch: typeof fetch;
  /** Sends a body that outlives the page, where `fetch` has no `keepalive`: Firefox before 133. */
  readonly sendBeacon: ((url: string, body: string) => boolean) | undefined;
  /** Without a WebSocket (Node.js before 22 has none) the client uses Server-Sent Events and HTTP. */
  readonly WebSocket: typeof WebSocket | undefined;
  /** Whether a program drives the browser: gateways do not count its views. https://www.w3.org/TR/webdriver2/#interface */
  readonly isAutomated: boolean;
}

/** One animation frame at 60 Hz. */
const FRAME_MS = 16;
/** The wait for a frame of a page that is not hidden: as a frame of another page that is out of view it draws none. */
const LATE_FRAME_MS = 100;

const systemClock: Clock = {
  nowMs: Date.now,
  after(ms, call) {
    const handle = setTimeout(call, ms);
    return { cancel: () => clearTimeout(handle) };
  },
  frame(call) {
    let isDue = true;
    const run = (): void => {
      const isFirst = isDue;
      isDue = false;
      if (isFirst) call();
    };
    // A hidden page draws no frames.
    const isDrawn = typeof document !== 'undefined' && !document.hidden;
    if (isDrawn) requestAnimationFrame(run);
    setTimeout(run, isDrawn ? LATE_FRAME_MS : FRAME_MS);
  },
};

export type StorageMode = 'local' | 'session' | 'none';

/** The browser's functions, as far as they exist here. */
export function systemEnvironment(mode: StorageMode = 'local'): Environment {
  // Something else than these two may be a misspelt `none`.
  const ofSession = /^(local|session)$/.test(mode) ? browserStorage(() => sessionStorage) : undefined;
  return {
    clock: systemClock,
    random: Math.random,
    storage: mode === 'local' ? browserStorage(() => localStorage) : ofSession,
    sessionStorage: ofSession,
    page: typeof document === 'undefined' ? undefined : documentPage(document),
    fetch: (input, init) => fetch(input, init),
    sendBeacon:
      typeof Request === 'undefined' || 'keepalive' in Request.prototype
        ? undefined
        : (url, body) => navigator.sendBeacon(url, body),
    WebSocket: typeof WebSocket === 'undefined' ? undefined : WebSocket,
    isAutomated: typeof navigator !== 'undefined' && navigator.webdriver,
  };
}

function browserStorage(read: () => Storage): Storage | undefined {
  // Reading Node's localStorage prints a warning, and a browser that blocks site data throws.
  if (typeof document === 'undefined') return undefined;
  try {
    return read();
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
      const listen = (type: string, change: () => PageChange): void =>
        addEventListener(type, () => call(change()), stop);
      // A change reaches the window after the page's own listeners on the document, which may still count something.
      listen('visibilitychange', () => (document.hidden ? 'hidden' : 'shown'));
      listen('pagehide', () => 'left');
      listen('pageshow', () => 'shown');
      listen('online', () => 'online');
      return () => stop.abort();
    },
  };
}
