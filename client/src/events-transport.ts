import type { ErrorBody } from '../../src/protocol/errors.js';
import type { ByeEvent, Failure, Update } from '../../src/protocol/messages.js';
import type { Environment, Timer } from './environment.js';
import { readEvents } from './event-reader.js';
import {
  type Acknowledgement,
  ACK_TIMEOUT_MS,
  type TransportConnection,
  type ConnectionListener,
  type Credentials,
  type CloseReason,
  type ClientOperation,
  type SubscribeResult,
  type Transport,
} from './transport.js';

/** Three heartbeats of a stream. */
const SILENCE_MS = 45_000;
/** Characters of ids in an address: servers and proxies take 8 KiB of it, some of that for the rest. About 200 UUIDs. */
const IDS_MAX = 7_500;

/**
 * Server-Sent Events to watch and HTTP to act, for networks that let nothing else through. A connection is a stream of all
 * posts watched, opened again when they change; operations are requests beside it, each repeated under its own key.
 */
export class EventsTransport implements Transport {
  readonly kind = 'events';

  constructor(
    private readonly origin: string,
    private readonly environment: Environment,
  ) {}

  connect(credentials: Credentials, listener: ConnectionListener): TransportConnection {
    return new EventsConnection(this.origin, this.environment, credentials, listener);
  }
}

class EventsConnection implements TransportConnection {
  readonly #posts = new Set<string>();
  /** Requests that are open, streams among them. Not joined by AbortSignal.any, which Node.js 20 may collect too early. */
  readonly #open = new Set<AbortController>();
  readonly #headers: Record<string, string>;
  #stream: AbortController | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #watch: Timer | undefined;
  #ended = false;

  constructor(
    private readonly origin: string,
    private readonly environment: Environment,
    private readonly credentials: Credentials,
    private readonly listener: ConnectionListener,
  ) {
    const { token, actor } = credentials;
    this.#headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    // A header holds bytes: as UTF-8 it is the same actor as on a socket.
    if (token === undefined && actor !== undefined) this.#headers['Actor-Id'] = bytesOf(actor);
    void this.#greet();
  }

  subscribe(posts: readonly string[]): Promise<SubscribeResult | Failure> {
    return this.#inTurn(async () => {
      const before = new Set(this.#posts);
      for (const post of posts) this.#posts.add(post);
      const answer = await this.#replace();
      if (!answer.ok) for (const post of posts) if (!before.has(post)) this.#posts.delete(post);
      return answer;
    });
  }

  unsubscribe(posts: readonly string[]): void {
    const left = this.#inTurn(async () => {
      for (const post of posts) this.#posts.delete(post);
      // The others miss nothing: their stream ends when the next one has begun.
      if (this.#posts.size > 0) await this.#replace();
      else this.#leave();
    });
    // Lost with the connection, which the listener hears.
    left.catch(() => undefined);
  }

  async operate({ seq, post, metric, value }: ClientOperation): Promise<Acknowledgement | Failure> {
    const action = value === false ? 'decrement' : 'increment';
    const times = typeof value === 'number' ? value : 1;
    // HTTP adds one at a time. Sent again, those that were counted are recognised by their keys.
    for (let n = 1; n <= times; n++) {
      const answer = await this.#put(`${post}/${metric}`, action, `${this.credentials.session}.${seq}.${n}`);
      if (!answer.ok) {
        const error = await errorOf(answer);
        if (error.code === 'UNAUTHORIZED' && this.credentials.token !== undefined) {
          this.#end({ error });
          throw new Error('the token was refused');
        }
        // Part of it is done already: that the rest was refused is no refusal of it all.
        return { ok: false, error: n > 1 ? { ...error, retryable: true } : error };
      }
      await answer.body?.cancel();
    }
    return { ok: true };
  }

  close(): void {
    this.#ended = true;
    this.#leave();
    for (const request of this.#open) request.abort();
    this.#open.clear();
  }

  /** A stream names all posts, so no two may be opened at once. */
  #inTurn<T>(open: () => Promise<T>): Promise<T> {
    const opened = this.#turn.then(open);
    this.#turn = opened.catch(() => undefined);
    return opened;
  }

  #leave(): void {
    this.#watch?.cancel();
    if (!this.#stream) return;
    this.#open.delete(this.#stream);
    this.#stream.abort();
    this.#stream = undefined;
  }

  async #greet(): Promise<void> {
    const answer = await this.#fetch('/readyz').catch(() => undefined);
    void answer?.body?.cancel();
    if (answer?.ok) this.listener.opened();
    else this.#end({});
  }

  /** Ends by itself when no answer begins in time. Who gives an `abort` ends what is answered, too. */
  async #fetch(path: string, init: RequestInit = {}, abort?: AbortController): Promise<Response> {
    if (this.#ended) throw new Error('the connection has ended');
    const request = abort ?? new AbortController();
    this.#open.add(request);
    const timer = this.environment.clock.after(ACK_TIMEOUT_MS, () => request.abort());
    try {
      return await this.environment.fetch(`${this.origin}${path}`, { ...init, signal: request.signal });
    } finally {
      timer.cancel();
      if (!abort) this.#open.delete(request);
    }
  }

  #put(path: string, action: string, key: string): Promise<Response> {
    const headers = { ...this.#headers, 'Content-Type': 'application/json', 'Idempotency-Key': key };
    return this.#fetch(`/v1/${path}`, { method: 'PUT', headers, body: JSON.stringify({ action }), keepalive: true });
  }

  /** Replaces the present stream once the new one has begun; resolves with its snapshot of all posts. */
  async #replace(): Promise<SubscribeResult | Failure> {
    const ids = [...this.#posts].join();
    if (ids.length > IDS_MAX) {
      const message = `over HTTP the ids of all watched posts may have ${IDS_MAX} characters together`;
      return { ok: false, error: { code: 'TOO_MANY_POSTS', message, retryable: false } };
    }
    const stream = new AbortController();
    const init = { headers: this.#headers };
    const answer = await this.#fetch(`/v1/stream?posts=${ids}`, init, stream).catch(() => undefined);
    if (!answer?.body) return this.#lost();
    if (!answer.ok) {
      this.#open.delete(stream);
      const error = await errorOf(answer);
      if (error.code === 'UNAUTHORIZED') this.#end({ error });
      return { ok: false, error };
    }
    this.#listen();
    const events = readEvents(answer.body);
    const { value } = await events.next().catch(() => ({ value: undefined }));
    if (value?.name !== 'counts') return this.#lost();
    this.#leave();
    this.#stream = stream;
    this.#listen();
    void this.#follow(events, stream);
    return { ok: true, counts: JSON.parse(value.data) as Update[] };
  }

  async #follow(events: ReturnType<typeof readEvents>, stream: AbortController): Promise<void> {
    let ending: CloseReason = {};
    try {
      for await (const { name, data } of events) {
        if (stream !== this.#stream) return;
        this.#listen();
        if (name === 'counts') this.listener.counts(JSON.parse(data) as Update[]);
        if (name === 'bye') ending = { retryAfterMs: (JSON.parse(data) as ByeEvent).retryAfterMs };
      }
    } catch {
      // Cut off in the middle, or ended by us.
    }
    if (stream === this.#stream) this.#end(ending);
  }

  #listen(): void {
    this.#watch?.cancel();
    if (!this.#ended) this.#watch = this.environment.clock.after(SILENCE_MS, () => this.#end({}));
  }

  #lost(): never {
    this.#end({});
    throw new Error('the stream was lost');
  }

  #end(ending: CloseReason): void {
    if (this.#ended) return;
    this.close();
    this.listener.closed(ending);
  }
}

async function errorOf(answer: Response): Promise<ErrorBody> {
  const error = (await answer.json().catch(() => undefined)) as Partial<ErrorBody> | undefined;
  if (typeof error?.code === 'string') return error as ErrorBody;
  // Not the gateway's own words, but those of something in between.
  return { code: 'UNAVAILABLE', message: `answered with status ${answer.status}`, retryable: true };
}

function bytesOf(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
