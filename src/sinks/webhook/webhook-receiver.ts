import { Backoff } from '../../common/backoff.js';
import type { Clock } from '../../common/clock.js';
import type { PostCounts } from '../../counters/batch.js';
import type { PostMilestone } from '../../counters/milestones.js';
import { MILESTONE_REACHED, type RowEncoder } from '../count-row.js';
import { type BucketWrite, SinkError } from '../sink.js';
import type { PostReceiver } from '../stored-positions.js';
import { WebhookEndpoint, type WebhookResponse } from './webhook-endpoint.js';
import { computeId, signRequest } from './webhook-signature.js';

const ROWS_MAX = 1_000;
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 60_000;

export interface WebhookOptions {
  readonly name: string;
  readonly url: URL;
  /** SINK_SECRET */
  readonly key: Buffer;
  readonly rows: RowEncoder;
  readonly clock: Clock;
}

/**
 * Posts rows to a URL, `{"type":"counts.changed","timestamp":…,"data":[row, …]}`, one request after the other, and milestones in requests of
 * their own, `{"type":"milestone.reached",…}`. What is sent after a failure is read from the store again. So requests that failed are repeated as they were, or with newer counts.
 */
export class WebhookReceiver implements PostReceiver {
  readonly #endpoint: WebhookEndpoint;
  /** One gateway retries at a time, so its pauses need no spread. */
  readonly #backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, () => 1);
  #failures = 0;
  /** Lower once the receiver has rejected a request for its size. */
  #rowsMax = ROWS_MAX;

  constructor(private readonly options: WebhookOptions) {
    this.#endpoint = new WebhookEndpoint(options.url, options.clock);
  }

  get name(): string {
    return this.options.name;
  }

  open(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async send(writes: readonly BucketWrite[]): Promise<boolean> {
    const posts = writes.flatMap((write) => write.posts);
    await this.#sendAll(posts, (some) => this.#encodeCounts(some));
    const milestones = writes.flatMap((write) => write.milestones);
    await this.#sendAll(milestones, (some) => this.#encodeMilestones(some));
    return true;
  }

  close(): Promise<void> {
    this.#endpoint.close();
    return Promise.resolve();
  }

  async #sendAll<T>(items: readonly T[], encode: (some: readonly T[]) => string): Promise<void> {
    for (let sent = 0; sent < items.length;) {
      sent += await this.#sendSome(items.slice(sent, sent + this.#rowsMax), encode);
    }
  }

  /** @returns how many of the items the receiver has: all, or none if they are to be sent in smaller requests */
  async #sendSome<T>(items: readonly T[], encode: (some: readonly T[]) => string): Promise<number> {
    const response = await this.#post(encode(items));
    const { status } = response;
    if (status >= 200 && status < 300) {
      this.#failures = 0;
      return items.length;
    }
    if (status === 413 && items.length > 1) {
      this.#rowsMax = Math.ceil(items.length / 2);
      return 0;
    }
    throw this.#toError(response);
  }

  #encodeCounts(posts: readonly PostCounts[]): string {
    const times = posts.map(({ updatedAtMs }) => updatedAtMs ?? 0);
    return encodeBody(
      'counts.changed',
      times,
      posts.map((post) => this.options.rows.encode(post)),
    );
  }

  #encodeMilestones(milestones: readonly PostMilestone[]): string {
    const times = milestones.map(({ atMs }) => atMs);
    return encodeBody(
      MILESTONE_REACHED,
      times,
      milestones.map((one) => this.options.rows.encodeMilestone(one)),
    );
  }

  async #post(body: string): Promise<WebhookResponse> {
    const { key, clock } = this.options;
    const timestampSeconds = Math.floor(clock.wallMs() / 1_000);
    try {
      return await this.#endpoint.post(body, signRequest(key, computeId(body), timestampSeconds, body));
    } catch (error) {
      throw this.#toTransientError((error as Error).message, 0, error);
    }
  }

  #toError({ status, retryAfter }: WebhookResponse): SinkError {
    if (status >= 500 || status === 429 || status === 408) {
      return this.#toTransientError(`the receiver responded ${status}`, this.#parseRetryAfter(retryAfter));
    }
    if (status >= 300 && status < 400) {
      return new SinkError(
        `the receiver responded ${status}, but redirects are not followed; name the final URL`,
        true,
      );
    }
    return new SinkError(`the receiver responded ${status}; it has to accept signed POST requests with 2xx`, true);
  }

  #toTransientError(message: string, leastPauseMs: number, cause?: unknown): SinkError {
    this.#failures += 1;
    const pauseMs = Math.max(this.#backoff.pauseMs(this.#failures), leastPauseMs);
    return new SinkError(message, false, { cause, pauseMs });
  }

  /** Seconds or a date. @returns at most RETRY_MAX_MS */
  #parseRetryAfter(text = ''): number {
    const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - this.options.clock.wallMs();
    return Number.isNaN(ms) ? 0 : Math.min(ms, RETRY_MAX_MS);
  }
}

/** The timestamp is the newest of the items, so that a body that is sent again is the same. */
function encodeBody(type: string, times: readonly number[], items: readonly string[]): string {
  const timestamp = new Date(Math.max(...times)).toISOString();
  return `{"type":"${type}","timestamp":"${timestamp}","data":[${items.join(',')}]}`;
}
