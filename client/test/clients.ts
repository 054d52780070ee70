import { WebSocket } from 'ws';
import type { Change, LiveCounts, Options } from '../src/live-counts.js';
import { createLiveCounts } from '../src/live-counts.js';

/** Node.js 20 has no WebSocket. */
const NodeWebSocket = WebSocket as unknown as typeof globalThis.WebSocket;

const open = new Set<LiveCounts>();

/** A client with sockets, closed by `closeClients`. */
export function connect(url: string, options: Options = {}): LiveCounts {
  const environment = { WebSocket: NodeWebSocket, ...options.environment };
  const live = createLiveCounts(url, { ...options, environment });
  open.add(live);
  return live;
}

/** For `afterEach`. */
export function closeClients(): void {
  for (const live of open) live.close();
  open.clear();
}

/** Collects the changes that a subscriber of a post gets. */
export class PostWatcher {
  readonly changes: Change[] = [];
  readonly stop: () => void;
  readonly #waiting = new Set<() => void>();

  constructor(live: LiveCounts, post: string) {
    this.stop = live.post(post).subscribe((change) => {
      this.changes.push(change);
      for (const look of this.#waiting) look();
    });
  }

  get last(): Change | undefined {
    return this.changes.at(-1);
  }

  /** Resolves with the first last change for which `reached` is true. */
  until(untilState: (change: Change) => boolean): Promise<Change> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!this.last || !untilState(this.last)) return;
        this.#waiting.delete(look);
        resolve(this.last);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** Resolves once the client is in this state. */
export function reached(live: LiveCounts, state: LiveCounts['state']): Promise<void> {
  return new Promise((resolve) => {
    if (live.state === state) return resolve();
    const stop = live.on(state, () => {
      stop();
      resolve();
    });
  });
}
