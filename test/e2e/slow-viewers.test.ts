import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, type Totals, readTotals } from '../support/clients.js';
import { TestViewer } from '../support/clients-viewer.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, untilMetric } from '../support/metrics.js';
import { encodeFrame, RawSocket } from '../support/raw-socket.js';

/** The maximum number of posts of a connection. */
const POSTS = Array.from({ length: 500 }, (_, i) => `post-${i}`);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const BATCHES = SCALE === 1 ? 60 : 200;
const BATCHES_PER_STEP = 20;
const POLLED_BATCHES = 50;
/** Batches of views that are sent ahead of their acknowledgements. */
const BATCHES_AHEAD = 2;
const CHANGES = POSTS.length * BATCHES;
const SLOW = 20;
/** The maximum number of metrics with names of maximum length: an update is 600 bytes, a frame of all posts 300 KB. */
const METRICS = Array.from({ length: 14 }, (_, i) => `tally_${i}`.padEnd(32, '_'));
/** Size of the system's buffers and one frame of the gateway for one reader; all frames would take twice as much. */
const WRITTEN_MAX_BYTES = 10e6;
const WRITTEN = 'tallycast_frame_bytes_total';
const GROWTH_MAX_BYTES = 250e6;
const RESIDENT = 'process_resident_memory_bytes';
/** Frames that the system's buffers hold, and a few; all frames would be twice as many. */
const FRAMES_MAX = 50;
/** Acknowledgements of 650 bytes: far more than the system's buffers hold. */
const UNREAD = 40_000;
/** A short tick makes more frames than these buffers hold, so that the gateway must stop writing. */
const ENV = {
  MAX_OPS_PER_CONNECTION: '0',
  TICK_MS: '10',
  METRICS: ['likes:toggle', 'views:tally', ...METRICS.map((name) => `${name}:tally`)].join(),
};

/** On a slow machine all changes take longer than 30 s, after which slow viewers are disconnected. */
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

  it(`viewers that do not read ${CHANGES} changes use bounded memory, and get the newest counts when they read again`, async () => {
    const { url } = patient;
    const postponed = (): Promise<number> => readMetric(url, 'tallycast_frames_postponed_total');
    const readers = await Promise.all(Array.from({ length: SLOW }, () => SlowReader.watch(url)));
    const residentBefore = await readMetric(url, RESIDENT);
    const writtenBefore = await readMetric(url, WRITTEN);
    for (const { client } of readers) client.pause();
    let batches = 0;
    // Before frames are postponed the system's buffers hold everything, and the gateway is not tested.
    while (batches < BATCHES || (await postponed()) <= SLOW) {
      await change(url, BATCHES_PER_STEP);
      batches += BATCHES_PER_STEP;
    }
    expect((await readMetric(url, WRITTEN)) - writtenBefore).toBeLessThan(SLOW * WRITTEN_MAX_BYTES);
    expect((await readMetric(url, RESIDENT)) - residentBefore).toBeLessThan(GROWTH_MAX_BYTES);

    for (const { client } of readers) client.resume();
    await Promise.all(readers.map((reader) => reader.untilShows(batches)));
    expect(Math.max(...readers.map(({ frames }) => frames))).toBeLessThan(FRAMES_MAX);
    expect(await readTotals(url, POSTS)).toEqual(shown(batches));
    for (const reader of readers) expect(reader.summed).toEqual(POSTS.map(() => batches));
    for (const { client } of readers) client.destroy();
  });

  it('viewers over long-polling get exact totals, one frame a request', async () => {
    const { url } = gateway;
    const pollers = [0, 1].map(() => new TestViewer(url, POSTS, { transports: ['polling'] }));
    await Promise.all(pollers.map((poller) => poller.untilSubscribed()));
    await change(url, POLLED_BATCHES);
    await Promise.all(pollers.map((poller) => poller.untilShows(shown(POLLED_BATCHES))));
    for (const { summed } of pollers) expect(summed).toEqual(shown(POLLED_BATCHES));
  });

  it('viewers that keep sending requests and do not read the acknowledgements are disconnected', async () => {
    const { url } = gateway;
    const witness = new TestViewer(url, ['unread']);
    await witness.untilSubscribed();
    const before = await readMetric(url, 'tallycast_sockets');
    const client = await RawSocket.connect(url);
    await untilMetric(url, 'tallycast_sockets', before + 1);
    client.pause();
    const views = Array.from({ length: UNREAD }, (_, id) => encodeFrame(`42${id}["view",{"post":"unread"}]`));
    client.write(Buffer.concat(views));
    await untilMetric(url, 'tallycast_sockets', before);
    client.resume();
    await client.closed;
  });
});

function shown(views: number): Record<string, Totals> {
  return Object.fromEntries(POSTS.map((post) => [post, { likes: 0, views }]));
}

/** Sends batches with a view of each of POSTS, some ahead of the acknowledgements. Resolves when all are committed. */
async function change(url: string, batches: number): Promise<void> {
  const sender = await RawSocket.connect(url);
  const views = Buffer.concat(POSTS.map((post) => encodeFrame(`42${JSON.stringify(['view', { post }])}`)));
  let answered = 0;
  await new Promise<void>((resolve) => {
    let sent = 0;
    const sendBatch = (): void => {
      const id = sent++;
      sender.write(views);
      // Acknowledged after all earlier requests of this connection.
      sender.send(`42${id}${JSON.stringify(['unsubscribe', { posts: ['none'] }])}`);
    };
    sender.onPacket = () => {
      answered += 1;
      if (answered === batches) resolve();
      else if (sent < batches) sendBatch();
    };
    while (sent < BATCHES_AHEAD) sendBatch();
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

  /** Resolves when it has its snapshot. */
  static async watch(url: string): Promise<SlowReader> {
    const reader = new SlowReader(await RawSocket.connect(url));
    const shown = reader.untilShows(0);
    // Without an acknowledgement the snapshot arrives as a frame.
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
