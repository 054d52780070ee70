import { Backoff } from '../../common/backoff.js';
import type { Clock } from '../../common/clock.js';
import type { PostCounts } from '../../counters/batch.js';
import type { RowEncoder } from '../count-row.js';
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
 * Posts rows to a URL, `{"type":"counts.changed","timestamp":…,"data":[row, …]}`, one request after the other. What is sent after a failure
 * is read from the store again. So requests that failed are repeated as they were, or with newer counts.
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
    for (let sent = 0; sent < posts.length;) sent += await this.#sendSome(posts.slice(sent, sent + this.#rowsMax));
    return true;
  }

  close(): Promise<void> {
    this.#endpoint.close();
    return Promise.resolve();
  }

  /** @returns how many of the posts the receiver has: all, or none if they are to be sent in smaller requests */
  async #sendSome(posts: readonly PostCounts[]): Promise<number> {
    const response = await this.#post(this.#encode(posts));
    const { status } = response;
    if (status >= 200 && status < 300) {
      this.#failures = 0;
      return posts.length;
    }
    if (status === 413 && posts.length > 1) {
      this.#rowsMax = Math.ceil(posts.length / 2);
      return 0;
    }
    throw this.#toError(response);
  }

  #encode(posts: readonly PostCounts[]): string {
    const { rows } = this.options;
    const newestMs = posts.reduce((newest, { updatedAtMs }) => Math.max(newest, updatedAtMs ?? 0), 0);
    const timestamp = new Date(newestMs).toISOString();
    return `{"type":"counts.changed","timestamp":"${timestamp}","data":[${posts.map((post) => rows.encode(post)).join(',')}]}`;
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
