import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { RawSocket } from './raw-socket.js';

/**
 * Runs in a thread of its own: viewers of one post, who note when each frame arrived and read it when all is over. So
 * they add next to nothing to the times that they measure.
 */
export interface Viewers {
  readonly url: string;
  readonly post: string;
  readonly count: number;
  /** The views that every one of them shows in the end. */
  readonly views: number;
}

/** What the thread says when all show the end. */
export interface Seen {
  /** The most frames that one viewer got within a second. */
  readonly framesInASecond: number;
  readonly frames: number;
  /** When the last of them showed the end: `process.hrtime`, in ms. */
  readonly lastAtMs: number;
  /** Viewers whose `d` do not add up to the change of their totals. */
  readonly adrift: number;
  /** The longest that the thread was kept from looking at its sockets. */
  readonly starvedMs: number;
}

interface Update {
  readonly likes: number;
  readonly views: number;
  readonly d: { readonly likes?: number; readonly views?: number };
}

const WINDOW_MS = 1_000;
/** Viewers that connect at the same time. */
const AT_ONCE = 50;

class LeanViewer {
  readonly arrivals: number[] = [];
  readonly frames: string[] = [];
  snapshot = '';
  endedAtMs = 0;

  static async watch(url: string, post: string, end: string, ended: () => void): Promise<LeanViewer> {
    const viewer = new LeanViewer();
    const client = await RawSocket.connect(url);
    await new Promise<void>((resolve) => {
      client.onPacket = (packet) => {
        if (packet.startsWith('30')) {
          viewer.snapshot = packet;
          resolve();
        } else viewer.#frame(packet, end, ended);
      };
      client.send(`420${JSON.stringify(['subscribe', { posts: [post] }])}`);
    });
    return viewer;
  }

  #frame(packet: string, end: string, ended: () => void): void {
    const now = nowMs();
    this.arrivals.push(now);
    this.frames.push(packet);
    if (this.endedAtMs > 0 || !packet.includes(end)) return;
    this.endedAtMs = now;
    ended();
  }

  get framesInASecond(): number {
    let most = 0;
    let from = 0;
    for (const [i, at] of this.arrivals.entries()) {
      while (at - this.arrivals[from]! >= WINDOW_MS) from++;
      most = Math.max(most, i - from + 1);
    }
    return most;
  }

  get isAdrift(): boolean {
    const [{ counts }] = JSON.parse(this.snapshot.slice(2)) as [{ counts: [Update] }];
    const sum = { likes: counts[0].likes, views: counts[0].views };
    for (const frame of this.frames) {
      const [, [{ likes, views, d }]] = JSON.parse(frame.slice(1)) as [string, [Update]];
      sum.likes += d.likes ?? 0;
      sum.views += d.views ?? 0;
      if (sum.likes !== likes || sum.views !== views) return true;
    }
    return false;
  }
}

/** The monotonic clock that all threads and processes of the machine share. */
function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

async function run({ url, post, count, views }: Viewers): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  let left = count;
  const viewers: LeanViewer[] = [];
  const ended = (): void => {
    left -= 1;
    if (left === 0) report(viewers, delay.max / 1e6);
  };
  while (viewers.length < count) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - viewers.length) }, () =>
      LeanViewer.watch(url, post, `"views":${views},`, ended),
    );
    viewers.push(...(await Promise.all(some)));
  }
  delay.enable();
  parentPort?.postMessage('ready');
}

function report(viewers: readonly LeanViewer[], starvedMs: number): void {
  const seen: Seen = {
    framesInASecond: Math.max(...viewers.map((viewer) => viewer.framesInASecond)),
    frames: viewers.reduce((sum, { frames }) => sum + frames.length, 0),
    lastAtMs: Math.max(...viewers.map(({ endedAtMs }) => endedAtMs)),
    adrift: viewers.filter(({ isAdrift }) => isAdrift).length,
    starvedMs,
  };
  parentPort?.postMessage(seen);
}

void run(workerData as Viewers);
