import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { Random } from './random.js';
import { RawSocket } from './raw-socket.js';

/**
 * Runs in a thread of its own: viewers of one post, who know several gateways and go to the next one when theirs is
 * gone, after the pauses that a stock client makes.
 */
export interface Returning {
  readonly urls: readonly string[];
  readonly post: string;
  /** Spread over the gateways. */
  readonly count: number;
  readonly seed: number;
}

/** What the thread is told when it is known: the views that every viewer shows in the end. */
export interface End {
  readonly views: number;
}

/** What the thread says when all show the end. Times are `process.hrtime`'s, in ms. */
export interface Returned {
  /** When the last of them showed the end. */
  readonly shownAtMs: number;
  /** When the last of those that lost their gateway was watching again; 0: none did. */
  readonly returnedAtMs: number;
  /** Connections lost, by how many times a viewer lost its own. */
  readonly losses: readonly number[];
  /** Attempts to connect that failed. */
  readonly failures: number;
  /** The longest that the thread was kept from looking at its sockets. */
  readonly starvedMs: number;
}

/** Viewers that connect at the same time. */
const AT_ONCE = 50;
/** As socket.io-client has it: reconnectionDelay, reconnectionDelayMax, randomizationFactor. */
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 5_000;
const RANDOM_PART = 0.5;
/** Where `subscribe` is answered UNAVAILABLE. */
const AGAIN_MS = 100;

class ReturningViewer {
  losses = 0;
  failures = 0;
  returnedAtMs = 0;
  shownAtMs = 0;
  /** What it was told last. */
  #last = '';
  #end: string | null = null;

  constructor(
    private readonly urls: readonly string[],
    private at: number,
    private readonly subscription: string,
    private readonly random: Random,
    private readonly shown: () => void,
  ) {}

  /** Resolves when it watches. */
  async watch(): Promise<void> {
    const client = await RawSocket.connect(this.urls[this.at]!);
    void client.closed.then(() => this.#lost());
    await new Promise<void>((resolve, reject) => {
      void client.closed.then(() => reject(new Error('closed')));
      client.onPacket = (packet) => {
        if (packet.startsWith('30[{"ok":false')) setTimeout(() => client.send(this.subscription), AGAIN_MS);
        else {
          if (packet.startsWith('30')) resolve();
          this.#told(packet);
        }
      };
      client.send(this.subscription);
    });
  }

  expect(end: string): void {
    this.#end = end;
    this.#told(this.#last);
  }

  #told(packet: string): void {
    this.#last = packet;
    if (this.#end === null || this.shownAtMs > 0 || !packet.includes(this.#end)) return;
    this.shownAtMs = nowMs();
    this.shown();
  }

  #lost(): void {
    this.losses += 1;
    this.#return(0);
  }

  #return(attempt: number): void {
    const part = 1 + RANDOM_PART * (2 * this.random.next() - 1);
    setTimeout(
      () => {
        this.at = (this.at + 1) % this.urls.length;
        this.watch().then(
          () => (this.returnedAtMs = nowMs()),
          () => {
            this.failures += 1;
            this.#return(attempt + 1);
          },
        );
      },
      Math.min(PAUSE_MS * 2 ** attempt * part, PAUSE_MAX_MS),
    );
  }
}

/** The monotonic clock that all threads and processes of the machine share. */
function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

async function run({ urls, post, count, seed }: Returning): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const random = new Random(seed);
  const subscription = `420${JSON.stringify(['subscribe', { posts: [post] }])}`;
  let left = count;
  const shown = (): void => {
    left -= 1;
    if (left === 0) parentPort?.postMessage(outcome(viewers, delay.max / 1e6));
  };
  const viewers = Array.from({ length: count }, (_, i) => {
    return new ReturningViewer(urls, i % urls.length, subscription, random, shown);
  });
  for (let first = 0; first < count; first += AT_ONCE) {
    await Promise.all(viewers.slice(first, first + AT_ONCE).map((viewer) => viewer.watch()));
  }
  parentPort?.once('message', ({ views }: End) => {
    for (const viewer of viewers) viewer.expect(`"views":${views},`);
  });
  delay.enable();
  parentPort?.postMessage('ready');
}

function outcome(viewers: readonly ReturningViewer[], starvedMs: number): Returned {
  return {
    shownAtMs: Math.max(...viewers.map(({ shownAtMs }) => shownAtMs)),
    returnedAtMs: Math.max(...viewers.map(({ returnedAtMs }) => returnedAtMs)),
    losses: viewers.map(({ losses }) => losses),
    failures: viewers.reduce((sum, { failures }) => sum + failures, 0),
    starvedMs,
  };
}

void run(workerData as Returning);
