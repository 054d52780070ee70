/**
 * A worker thread with viewers of one post over WebSockets. They record when each frame arrives and parse it at the end, so
 * that they hardly affect the measured times. A viewer that loses its gateway connects to the next one with the pauses of
 * a stock client.
 *
 * `workerData`: `urls`, `post`, `count`. It posts `'ready'` when all watch. After a message `{ views }`, the final total, it
 * posts a report when all viewers show that total. Times are those of `process.hrtime`, in ms.
 */
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { WebSocket } from 'ws';

const AT_ONCE = 50;
const WINDOW_MS = 1_000;
/** Defaults of socket.io-client: reconnectionDelay, reconnectionDelayMax, randomizationFactor. */
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 5_000;
const RANDOM_SHARE = 0.5;
/** The wait before `subscribe` is retried after UNAVAILABLE. */
const RETRY_MS = 100;

const { urls, post, count } = workerData;
const SUBSCRIBE = `420${JSON.stringify(['subscribe', { posts: [post] }])}`;

class Viewer {
  losses = 0;
  failures = 0;
  returnedAtMs = 0;
  shownAtMs = 0;
  arrivals = [];
  /** Packets since the last snapshot, which is the first of them. */
  packets = [];
  #at;
  #expected = null;
  #shown = () => undefined;

  constructor(at) {
    this.#at = at;
  }

  /** Resolves when the viewer is subscribed. */
  async watch() {
    const socket = new WebSocket(
      `${urls[this.#at % urls.length].replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`,
    );
    await new Promise((resolve, reject) => {
      let watches = false;
      socket.on('error', () => undefined);
      socket.on('close', () => {
        if (watches) this.#lost();
        else reject(new Error('closed'));
      });
      socket.on('message', (data) => {
        const packet = data.toString();
        if (packet.startsWith('0')) socket.send('40');
        else if (packet === '2') socket.send('3');
        else if (packet.startsWith('40')) socket.send(SUBSCRIBE);
        else if (packet.startsWith('430[{"ok":false')) setTimeout(() => socket.send(SUBSCRIBE), RETRY_MS);
        else {
          if (packet.startsWith('430')) {
            watches = true;
            this.packets = [];
            resolve();
          }
          this.#take(packet);
        }
      });
    });
  }

  /** Resolves when a packet with this text has arrived. */
  shows(expected) {
    return new Promise((resolve) => {
      this.#expected = expected;
      this.#shown = resolve;
      const last = this.packets.at(-1);
      if (last.includes(expected)) this.#show(this.arrivals.at(-1));
    });
  }

  #take(packet) {
    const atMs = nowMs();
    this.arrivals.push(atMs);
    this.packets.push(packet);
    if (this.#expected !== null && packet.includes(this.#expected)) this.#show(atMs);
  }

  #show(atMs) {
    if (this.shownAtMs > 0) return;
    this.shownAtMs = atMs;
    this.#shown();
  }

  async #lost() {
    this.losses += 1;
    for (let attempt = 0; ; attempt++) {
      const jitter = 1 + RANDOM_SHARE * (2 * Math.random() - 1);
      await sleep(Math.min(PAUSE_MS * 2 ** attempt * jitter, PAUSE_MAX_MS));
      this.#at += 1;
      try {
        await this.watch();
        this.returnedAtMs = nowMs();
        return;
      } catch {
        this.failures += 1;
      }
    }
  }

  /** The largest number of frames within a second. */
  get framesInASecond() {
    let most = 0;
    let from = 0;
    for (const [i, atMs] of this.arrivals.entries()) {
      while (atMs - this.arrivals[from] >= WINDOW_MS) from++;
      most = Math.max(most, i - from + 1);
    }
    return most;
  }

  /** Whether the sum of all `d` ever differed from the change of the totals. */
  get isAdrift() {
    const [snapshot, ...frames] = this.packets;
    const sum = { ...JSON.parse(snapshot.slice(3))[0].counts[0] };
    return frames.some((frame) => {
      const { likes, views, d } = JSON.parse(frame.slice(2))[1][0];
      sum.likes += d.likes ?? 0;
      sum.views += d.views ?? 0;
      return sum.likes !== likes || sum.views !== views;
    });
  }
}

function nowMs() {
  return Number(process.hrtime.bigint()) / 1e6;
}

const delay = monitorEventLoopDelay({ resolution: 1 });
const viewers = Array.from({ length: count }, (_, i) => new Viewer(i));
for (let first = 0; first < count; first += AT_ONCE) {
  await Promise.all(viewers.slice(first, first + AT_ONCE).map((viewer) => viewer.watch()));
}
delay.enable();
parentPort.postMessage('ready');
const [{ views }] = await once(parentPort, 'message');
await Promise.all(viewers.map((viewer) => viewer.shows(`"views":${views},`)));
const most = (of) => Math.max(...viewers.map(of));
parentPort.postMessage({
  shownAtMs: most(({ shownAtMs }) => shownAtMs),
  returnedAtMs: most(({ returnedAtMs }) => returnedAtMs),
  framesInASecond: most(({ framesInASecond }) => framesInASecond),
  adrift: viewers.filter(({ isAdrift }) => isAdrift).length,
  losses: viewers.map(({ losses }) => losses),
  failures: viewers.reduce((sum, { failures }) => sum + failures, 0),
  starvedMs: delay.max / 1e6,
});
