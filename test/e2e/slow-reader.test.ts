import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, type Totals, readTotals } from '../support/clients.js';
import { TestViewer } from '../support/clients-viewer.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, untilMetric } from '../support/metrics.js';
import { encodeFrame, RawSocket } from '../support/raw-socket.js';

/** As many as a connection may watch. */
const POSTS = Array.from({ length: 500 }, (_, i) => `post-${i}`);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const ROUNDS = SCALE === 1 ? 60 : 200;
const ROUNDS_A_STEP = 20;
const POLLED_ROUNDS = 50;
/** Rounds that are sent ahead of their answers. */
const ROUNDS_AHEAD = 2;
const CHANGES = POSTS.length * ROUNDS;
const SLOW = 20;
/** As many as there may be, with names as long as they may be: an update is 600 bytes, and a frame of all 300 KB. */
const METRICS = Array.from({ length: 14 }, (_, i) => `tally_${i}`.padEnd(32, '_'));
/** The system's buffers and one frame of the gateway hold this much for one reader; all frames would be twice as much. */
const WRITTEN_MAX_BYTES = 10e6;
const WRITTEN = 'tallycast_frame_bytes_total';
const GROWTH_MAX_BYTES = 250e6;
const RESIDENT = 'process_resident_memory_bytes';
/** Those that the system's buffers hold, and a few; the others would be twice as many. */
const FRAMES_MAX = 50;
/** Answers of 650 bytes: far more than the system's buffers hold. */
const UNREAD = 40_000;
/** A short tick makes more frames than these buffers hold, so that the gateway has to do without writing. */
const ENV = {
  MAX_OPS_PER_CONNECTION: '0',
  TICK_MS: '10',
  METRICS: ['likes:toggle', 'views:tally', ...METRICS.map((name) => `${name}:tally`)].join(),
};

/** A slow machine takes longer for all changes than the 30 s after which viewers that do not read are disconnected. */
const PATIENT = { timeScale: 4 };

describe('viewers that read slowly', () => {
  let patient: GatewayProcess;
  let gateway: GatewayProcess;

  beforeAll(async () => {
    [patient, gateway] = await Promise.all([startGateway(ENV, PATIENT), startGateway(ENV)]);
  });

  afterAll(async () => {
    await closeClients();
    await stopAll();
  });

  it(`do not fill the gateway's memory in ${CHANGES} changes, and get the newest state when they read again`, async () => {
    const { url } = patient;
    const postponed = (): Promise<number> => readMetric(url, 'tallycast_frames_postponed_total');
    const readers = await Promise.all(Array.from({ length: SLOW }, () => SlowReader.watch(url)));
    const residentBefore = await readMetric(url, RESIDENT);
    const writtenBefore = await readMetric(url, WRITTEN);
    for (const { client } of readers) client.pause();
    let rounds = 0;
    // Until frames are postponed the system's buffers hold everything, and the gateway is not tried.
    while (rounds < ROUNDS || (await postponed()) <= SLOW) {
      await change(url, ROUNDS_A_STEP);
      rounds += ROUNDS_A_STEP;
    }
    expect((await readMetric(url, WRITTEN)) - writtenBefore).toBeLessThan(SLOW * WRITTEN_MAX_BYTES);
    expect((await readMetric(url, RESIDENT)) - residentBefore).toBeLessThan(GROWTH_MAX_BYTES);

    for (const { client } of readers) client.resume();
    await Promise.all(readers.map((reader) => reader.untilShows(rounds)));
    expect(Math.max(...readers.map(({ frames }) => frames))).toBeLessThan(FRAMES_MAX);
    expect(await readTotals(url, POSTS)).toEqual(shown(rounds));
    for (const reader of readers) expect(reader.summed).toEqual(POSTS.map(() => rounds));
    for (const { client } of readers) client.destroy();
  });

  it('come to exact totals over long-polling, a frame a request', async () => {
    const { url } = gateway;
    const pollers = [0, 1].map(() => new TestViewer(url, POSTS, { transports: ['polling'] }));
    await Promise.all(pollers.map((poller) => poller.untilSubscribed()));
    await change(url, POLLED_ROUNDS);
    await Promise.all(pollers.map((poller) => poller.untilShows(shown(POLLED_ROUNDS))));
    for (const { summed } of pollers) expect(summed).toEqual(shown(POLLED_ROUNDS));
  });

  it('are cut off at once when they go on asking and do not read the answers', async () => {
    const { url } = gateway;
    const witness = new TestViewer(url, ['asked']);
    await witness.untilSubscribed();
    const before = await readMetric(url, 'tallycast_sockets');
    const client = await RawSocket.connect(url);
    await untilMetric(url, 'tallycast_sockets', before + 1);
    client.pause();
    const views = Array.from({ length: UNREAD }, (_, id) => encodeFrame(`42${id}["view",{"post":"asked"}]`));
    client.write(Buffer.concat(views));
    await untilMetric(url, 'tallycast_sockets', before);
    client.resume();
    await client.closed;
  });
});

function shown(views: number): Record<string, Totals> {
  return Object.fromEntries(POSTS.map((post) => [post, { likes: 0, views }]));
}

/** Sends a view of each of POSTS a round, some rounds ahead of the answers. Resolves when all are committed. */
async function change(url: string, rounds: number): Promise<void> {
  const sender = await RawSocket.connect(url);
  const views = Buffer.concat(POSTS.map((post) => encodeFrame(`42${JSON.stringify(['view', { post }])}`)));
  let answered = 0;
  await new Promise<void>((resolve) => {
    let asked = 0;
    const round = (): void => {
      const id = asked++;
      sender.write(views);
      // Answered when all that this connection asked before it is.
      sender.send(`42${id}${JSON.stringify(['unsubscribe', { posts: ['none'] }])}`);
    };
    sender.onPacket = () => {
      answered += 1;
      if (answered === rounds) resolve();
      else if (asked < rounds) round();
    };
    while (asked < ROUNDS_AHEAD) round();
  });
  sender.destroy();
}

class SlowReader {
  frames = 0;
  readonly #views = new Map<string, number>();
  readonly #summed = new Map<string, number>();
  #shows: { readonly views: number; readonly resolve: () => void } | null = null;

  private constructor(readonly client: RawSocket) {
    client.onPacket = (packet) => this.#packet(packet);
  }

  /** Resolves when it was given its snapshot. */
  static async watch(url: string): Promise<SlowReader> {
    const reader = new SlowReader(await RawSocket.connect(url));
    const shown = reader.untilShows(0);
    // Without an acknowledgement the snapshot comes as a frame.
    reader.client.emit('subscribe', { posts: POSTS });
    await shown;
    return reader;
  }

  /** Resolves when all posts have these views. */
  untilShows(views: number): Promise<void> {
    return new Promise((resolve) => {
      this.#shows = { views, resolve };
      this.#check();
    });
  }

  get summed(): (number | undefined)[] {
    return POSTS.map((post) => this.#summed.get(post));
  }

  #packet(packet: string): void {
    const [, updates] = JSON.parse(packet.slice(1)) as [
      string,
      { post: string; views: number; d?: { views?: number } }[],
    ];
    this.frames += 1;
    for (const { post, views, d } of updates) {
      this.#views.set(post, views);
      this.#summed.set(post, (this.#summed.get(post) ?? 0) + (d?.views ?? 0));
    }
    this.#check();
  }

  #check(): void {
    if (this.#shows === null) return;
    const { views, resolve } = this.#shows;
    if (this.#views.size < POSTS.length || ![...this.#views.values()].every((seen) => seen === views)) return;
    this.#shows = null;
    resolve();
  }
}
