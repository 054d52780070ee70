import { setTimeout as sleep } from 'node:timers/promises';
import type { ErrorBody } from '../../src/protocol/errors.js';
import { postEvents } from '../support/events.js';
import type { Random } from '../support/random.js';

const SENDERS = 8;
const EVENTS_A_REQUEST = 25;
const POSTS_EACH = 6;
const BY_MAX = 5;
/** After a request that failed. */
const PAUSE_MS = 20;
const COUNTS_A_REQUEST = 48;

interface Event {
  readonly post: string;
  readonly by: number;
  readonly key?: string;
}

interface Answer {
  readonly status: number;
  readonly body: { readonly accepted?: number; readonly code?: ErrorBody['code'] };
}

/** Views of a post that are certain, and those that were sent without an answer. */
interface Expected {
  certain: number;
  unknown: number;
}

/** Clients that send events at a bounded rate: half of them with keys, who repeat each request until it is accepted. */
export class EventSenders {
  /** Events that were answered 202. */
  accepted = 0;
  /** Requests that got no 202, by what they got instead. */
  readonly failures = new Map<string, number>();
  readonly #expected = new Map<string, Expected>();
  #isEnding = false;
  #running: Promise<unknown> = Promise.resolve();
  #keys = 0;

  constructor(
    private readonly urls: readonly string[],
    private readonly random: Random,
    private readonly eventsPerSecond: number,
  ) {}

  get posts(): string[] {
    return [...this.#expected.keys()];
  }

  start(): void {
    this.#running = Promise.all(Array.from({ length: SENDERS }, (_, i) => this.#run(i)));
  }

  /** Resolves when the last requests are answered. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#running;
  }

  /** @returns posts whose views are not those that were sent, with both */
  async findDifferences(url: string): Promise<unknown[]> {
    const differences: unknown[] = [];
    for (let first = 0; first < this.posts.length; first += COUNTS_A_REQUEST) {
      const posts = this.posts.slice(first, first + COUNTS_A_REQUEST);
      const response = await fetch(`${url}/v1/counts?posts=${posts.join()}`);
      const { counts } = (await response.json()) as { counts: { post: string; views: number }[] };
      for (const { post, views } of counts) {
        const { certain, unknown } = this.#expected.get(post)!;
        if (views < certain || views > certain + unknown) differences.push({ post, views, certain, unknown });
      }
    }
    return differences;
  }

  async #run(sender: number): Promise<void> {
    const hasKeys = sender % 2 === 0;
    const intervalMs = (1_000 * SENDERS * EVENTS_A_REQUEST) / this.eventsPerSecond;
    for (let dueAtMs = performance.now(); !this.#isEnding; dueAtMs += intervalMs) {
      await sleep(Math.max(0, dueAtMs - performance.now()));
      const events = Array.from({ length: EVENTS_A_REQUEST }, () => this.#newEvent(sender, hasKeys));
      if (hasKeys) await this.#sendUntilAccepted(events);
      else await this.#sendOnce(events);
    }
  }

  #newEvent(sender: number, hasKeys: boolean): Event {
    const post = `post-${sender}-${this.random.below(POSTS_EACH)}`;
    const event = { post, by: 1 + this.random.below(BY_MAX) };
    return hasKeys ? { ...event, key: `key-of-event-${(this.#keys += 1)}` } : event;
  }

  async #sendUntilAccepted(events: readonly Event[]): Promise<void> {
    while (!(await this.#send(events)).isAccepted) await sleep(PAUSE_MS);
    this.#expect(events, 'certain');
  }

  async #sendOnce(events: readonly Event[]): Promise<void> {
    const { isAccepted, isUnknown } = await this.#send(events);
    if (isAccepted) this.#expect(events, 'certain');
    else if (isUnknown) this.#expect(events, 'unknown');
    if (!isAccepted) await sleep(PAUSE_MS);
  }

  async #send(events: readonly Event[]): Promise<{ readonly isAccepted: boolean; readonly isUnknown: boolean }> {
    const answer = await postEvents(this.random.pick(this.urls), { events }).catch(toCause);
    if (typeof answer !== 'string' && answer.status === 202) {
      const { accepted } = (answer as Answer).body;
      if (accepted !== events.length) throw new Error(`${String(accepted)} of ${events.length} events are accepted`);
      this.accepted += events.length;
      return { isAccepted: true, isUnknown: false };
    }
    const failure = typeof answer === 'string' ? answer : ((answer as Answer).body.code ?? String(answer.status));
    this.failures.set(failure, (this.failures.get(failure) ?? 0) + 1);
    return { isAccepted: false, isUnknown: failure !== 'OVERLOADED' && failure !== 'ECONNREFUSED' };
  }

  #expect(events: readonly Event[], kind: keyof Expected): void {
    for (const { post, by } of events) {
      const expected = this.#expected.get(post) ?? { certain: 0, unknown: 0 };
      expected[kind] += by;
      this.#expected.set(post, expected);
    }
  }
}

/** @returns the code of the error of a request without an answer */
function toCause(error: unknown): string {
  const { cause } = error as { cause?: { code?: string } };
  return cause?.code ?? String(error);
}
