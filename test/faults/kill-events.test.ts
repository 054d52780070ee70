import { afterAll, expect, it } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { postEvents, readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { countOperations, readMetrics } from '../support/metrics.js';
import { Random } from '../support/random.js';

const SENDERS = 8;
const POSTS = Array.from({ length: 10 }, (_, i) => `post-${i}`);
const EVENTS_MAX = 60;
const BY_MAX = 5;
/** Rounds, at least. */
const ROUNDS = 3 * SCALE;
const REQUESTS_MAX = 60;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

interface Event {
  readonly post: string;
  readonly by: number;
  readonly key?: string;
  readonly seq?: number;
}

afterAll(stopAll);

/** Sends requests one after the other, each until it is accepted; its events have keys, or numbers of a session. */
class Sender {
  readonly sent = new Map<string, number>();
  readonly #session: string | null;
  #events = 0;

  constructor(
    private readonly url: string,
    private readonly random: Random,
    private readonly index: number,
  ) {
    this.#session = index % 2 === 0 ? `session-of-sender-${index}` : null;
  }

  async send(): Promise<void> {
    const events = Array.from({ length: 1 + this.random.below(EVENTS_MAX) }, () => this.#newEvent());
    const body = this.#session === null ? { events } : { session: this.#session, events };
    for (;;) {
      const answer = await postEvents(this.url, body).catch(() => null);
      if (answer === null || answer.status === 503) continue;
      expect(answer).toMatchObject({ status: 202, body: { accepted: events.length } });
      break;
    }
    for (const { post, by } of events) this.sent.set(post, (this.sent.get(post) ?? 0) + by);
  }

  #newEvent(): Event {
    this.#events += 1;
    const event = { post: this.random.pick(POSTS), by: 1 + this.random.below(BY_MAX) };
    return this.#session === null
      ? { ...event, key: `sender-${this.index}-${this.#events}` }
      : { ...event, seq: this.#events };
  }
}

/** `Promise.withResolvers`, which Node 20 lacks. */
function newPromise(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

/**
 * Repeats until requests were sent again that had been committed before a kill. Otherwise no kill came between a commit and its
 * response, and the kills would prove nothing.
 */
it(
  `a gateway that is killed counts exactly the events that it accepted (TEST_SEED=${SEED})`,
  async () => {
    const random = new Random(SEED);
    let gateway: GatewayProcess = await startGateway();
    const { url, port, dataDir } = gateway;
    const senders = Array.from({ length: SENDERS }, (_, i) => new Sender(url, random, i));
    let duplicates = 0;
    for (let round = 1; round <= ROUNDS || duplicates === 0; round++) {
      const { promise: enough, resolve: kill } = newPromise();
      let left = 1 + random.below(REQUESTS_MAX);
      const sending = senders.map(async (sender) => {
        while (left > 0) {
          await sender.send();
          left -= 1;
        }
        kill();
      });
      await enough;
      await gateway.kill('SIGKILL');
      gateway = await startGateway({ PORT: String(port), DATA_DIR: dataDir });
      await Promise.all(sending);
      duplicates += countOperations(await readMetrics(url), 'duplicate');
      for (const post of POSTS) {
        const sum = senders.reduce((total, { sent }) => total + (sent.get(post) ?? 0), 0);
        expect({ round, post, views: await readCount(url, post, 'views') }).toEqual({ round, post, views: sum });
      }
    }
  },
  LIMIT_MS,
);
