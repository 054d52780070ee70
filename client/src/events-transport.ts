import type { ErrorBody } from '../../src/protocol/errors.js';
import type { ByeEvent, Failure, MetricRules, Update } from '../../src/protocol/messages.js';
import type { Environment, Timer } from './environment.js';
import { LiveCountsError } from './errors.js';
import { readEvents } from './event-reader.js';
import type { MilestoneList } from './milestones.js';
import { requestKey } from './posted-events.js';
import {
  type Acknowledgement,
  ACK_TIMEOUT_MS,
  type TransportConnection,
  type ConnectionListener,
  type Credentials,
  type CloseReason,
  type GatewayEvent,
  type KnownVersion,
  type ClientOperation,
  type SubscribeResult,
  type Subscription,
  type Transport,
} from './transport.js';

/** Three heartbeats of an event stream. */
const SILENCE_MS = 45_000;
/** Characters of ids in a URL, about 200 UUIDs: servers and proxies accept 8 KiB of URL in all. */
const IDS_MAX = 7_500;

/**
 * Server-Sent Events to watch and HTTP to act, for networks that let no WebSocket through. A connection is one event
 * stream of all watched posts, opened again when they change. Operations are separate requests, each with its own
 * idempotency key for retries.
 */
export class EventsTransport implements Transport {
  readonly kind = 'events';

  constructor(
    private readonly gateway: string,
    readonly environment: Environment,
  ) {}

  connect(credentials: Credentials, listener: ConnectionListener): TransportConnection {
    return new EventsConnection(this, credentials, listener);
  }

  async operate(
    credentials: Credentials,
    { seq, post, metric, value }: ClientOperation,
    isWanted = () => true,
  ): Promise<Acknowledgement | Failure> {
    const path = `/v1/${post}/${metric}`;
    const action = value === false ? 'decrement' : 'increment';
    const body = JSON.stringify({ action, automated: credentials.automated });
    const times = typeof value === 'number' ? value : 1;
    const answers: Pick<Acknowledgement, 'on' | 'reached'>[] = [];
    let at: KnownVersion | undefined;
    // HTTP adds one at a time. When the operation is retried, the keys of those that were counted are recognised.
    for (let n = 1; n <= times; n++) {
      if (!isWanted()) throw new Error('the connection has ended');
      const key = requestKey(credentials.session, seq, n);
      const headers = { ...toHeaders(credentials), 'Content-Type': 'application/json', 'Idempotency-Key': key };
      const answer = await this.fetch(path, { method: 'PUT', headers, body, keepalive: true });
      if (!answer.ok) {
        const error = await readError(answer);
        // Some of the additions are counted already, so the operation as a whole must be retried.
        return { ok: false, error: n > 1 ? { ...error, retryable: true } : error };
      }
      answers.push((await answer.json()) as (typeof answers)[0]);
      // An earlier gateway sends none, nor does a proxy that drops headers which it does not know.
      const [e, v] = answer.headers.get('Tallycast-Version')?.split(' ') ?? [];
      at = v ? [e!, +v] : undefined;
    }
    return { ok: true, on: answers.at(-1)?.on, reached: answers.some(({ reached }) => reached), ...(at && { at }) };
  }

  async milestones(credentials: Credentials, post: string, metric: string): Promise<MilestoneList> {
    const answer = await this.fetch(`/v1/${post}/${metric}/milestones`, { headers: toHeaders(credentials) });
    if (!answer.ok) throw LiveCountsError.from(await readError(answer));
    return (await answer.json()) as MilestoneList;
  }

  /** Aborts if no response begins in time. A caller that passes `request` can also end the body with it. */
  async fetch(path: string, init?: RequestInit, request = new AbortController()): Promise<Response> {
    const timer = this.environment.clock.after(ACK_TIMEOUT_MS, () => request.abort());
    try {
      return await this.environment.fetch(`${this.gateway}${path}`, { ...init, signal: request.signal });
    } finally {
      timer.cancel();
    }
  }
}

class EventsConnection implements TransportConnection {
  /** Whether the stream is to count as a viewer of the post. */
  readonly #posts = new Map<string, boolean>();
  /** The streams and the first request. No AbortSignal.any: Node.js 20 may collect the combined signal too early. */
  readonly #requests = new Set<AbortController>();
  readonly #headers: Record<string, string>;
  #stream: AbortController | undefined;
  /** The subscription with which the connection began, until it is requested. */
  #begun: { readonly first?: Subscription; readonly answer?: Promise<SubscribeResult | Failure> } = {};
  #isOpen = false;
  #lastOpened: Promise<unknown> = Promise.resolve();
  #silenceTimer: Timer | undefined;
  #hasEnded = false;

  constructor(
    private readonly transport: EventsTransport,
    private readonly credentials: Credentials,
    private readonly listener: ConnectionListener,
  ) {
    this.#headers = toHeaders(credentials);
    void this.#begin();
  }

  subscribe(posts: readonly string[], _: unknown, present: boolean): Promise<SubscribeResult | Failure> {
    const { first, answer } = this.#begun;
    this.#begun = {};
    if (answer && first?.join() === [posts, present].join()) return answer;
    // Other posts are wanted by now.
    if (answer) this.#posts.clear();
    return this.#add(posts, present);
  }

  #add(posts: readonly string[], present: boolean): Promise<SubscribeResult | Failure> {
    return this.#openInTurn(async () => {
      const before = new Set(this.#posts.keys());
      for (const post of posts) this.#posts.set(post, present);
      const answer = await this.#replace();
      if (!answer.ok) for (const post of posts) if (!before.has(post)) this.#posts.delete(post);
      return answer;
    });
  }

  unsubscribe(posts: readonly string[]): void {
    const left = this.#openInTurn(async () => {
      for (const post of posts) this.#posts.delete(post);
      // The other posts miss nothing: their stream ends after the next one has begun.
      if (this.#posts.size > 0) await this.#replace();
      else this.#closeStream();
    });
    // It fails only with the connection, which the listener is called for.
    left.catch(() => undefined);
  }

  async operate(operation: ClientOperation): Promise<Acknowledgement | Failure> {
    const { credentials } = this;
    let answer: Acknowledgement | Failure;
    try {
      answer = await this.transport.operate(credentials, operation, () => !this.#hasEnded);
    } catch (error) {
      // Nothing else says that the gateway is out of reach.
      if (!this.#stream) this.#end({});
      throw error;
    }
    if (answer.ok || answer.error.code !== 'UNAUTHORIZED' || credentials.token === undefined) return answer;
    this.#end({ error: answer.error });
    throw new Error('the token was rejected');
  }

  close(): void {
    this.#hasEnded = true;
    this.#closeStream();
    for (const request of this.#requests) request.abort();
    this.#requests.clear();
  }

  /** Opens streams one after the other, because each of them names all posts. */
  #openInTurn<T>(open: () => Promise<T>): Promise<T> {
    const opened = this.#lastOpened.then(open);
    this.#lastOpened = opened.catch(() => undefined);
    return opened;
  }

  #closeStream(): void {
    this.#silenceTimer?.cancel();
    if (!this.#stream) return;
    this.#requests.delete(this.#stream);
    this.#stream.abort();
    this.#stream = undefined;
  }

  /** Opens the first stream. Its answer shows that the gateway is within reach; without a post the first operation does. */
  async #begin(): Promise<void> {
    const first = this.listener.first();
    if (first) this.#begun = { first, answer: this.#add(...first) };
    try {
      await this.#begun.answer;
    } catch {
      // The connection has ended.
      return;
    }
    this.#isOpen = true;
    this.listener.opened();
  }

  async #fetch(path: string, init?: RequestInit, request = new AbortController()): Promise<Response> {
    if (this.#hasEnded) throw new Error('the connection has ended');
    this.#requests.add(request);
    return await this.transport.fetch(path, init, request);
  }

  /** Replaces the current stream once the new one has begun; resolves with its snapshot of all posts. */
  async #replace(): Promise<SubscribeResult | Failure> {
    const ids = [...this.#posts.keys()].join();
    const absence = [...this.#posts.values()].includes(true) ? '' : '&present=false';
    if (ids.length > IDS_MAX) {
      const message = `over HTTP the ids of all watched posts may have ${IDS_MAX} characters together`;
      return { ok: false, error: { code: 'TOO_MANY_POSTS', message, retryable: false } };
    }
    const stream = new AbortController();
    const init = { headers: this.#headers };
    const answer = await this.#fetch(`/v1/stream?posts=${ids}${absence}`, init, stream).catch(() => undefined);
    if (!answer?.body) return this.#failLost();
    if (!answer.ok) {
      this.#requests.delete(stream);
      const error = await readError(answer);
      // A gateway, or a proxy in front of one, that is down.
      if (!this.#isOpen && answer.status >= 500 && !error.retryAfterMs) return this.#failLost();
      if (error.code === 'UNAUTHORIZED') this.#end({ error });
      if (error.code === 'RATE_LIMITED') this.listener.limited(error);
      return { ok: false, error };
    }
    this.#expectEvent();
    const events = readEvents(answer.body);
    const { value } = await events.next().catch(() => ({ value: undefined }));
    if (value?.name !== 'counts') return this.#failLost();
    this.#closeStream();
    this.#stream = stream;
    this.#expectEvent();
    void this.#follow(events, stream);
    const counts = JSON.parse(value.data) as (Update & MetricRules)[];
    // The first update has the rules.
    return { ...counts[0], ok: true, counts };
  }

  async #follow(events: ReturnType<typeof readEvents>, stream: AbortController): Promise<void> {
    let ending: CloseReason = {};
    try {
      for await (const { name, data } of events) {
        if (stream !== this.#stream) return;
        this.#expectEvent();
        if (name === 'bye') ending = { retryAfterMs: (JSON.parse(data) as ByeEvent).retryAfterMs };
        // A comment has no name.
        else if (name) this.listener.received([name, JSON.parse(data)] as unknown as GatewayEvent);
      }
    } catch {
      // The stream was cut off, or aborted by this client.
    }
    if (stream === this.#stream) this.#end(ending);
  }

  #expectEvent(): void {
    this.#silenceTimer?.cancel();
    if (!this.#hasEnded) this.#silenceTimer = this.transport.environment.clock.after(SILENCE_MS, () => this.#end({}));
  }

  #failLost(): never {
    this.#end({});
    throw new Error('the stream was lost');
  }

  #end(ending: CloseReason): void {
    if (this.#hasEnded) return;
    this.close();
    this.listener.closed(ending);
  }
}

function toHeaders({ token, actor }: Credentials): Record<string, string> {
  if (token !== undefined) return { Authorization: `Bearer ${token}` };
  // A header holds bytes. UTF-8 makes it the same actor as on a socket.
  return actor === undefined ? {} : { 'Actor-Id': toByteString(actor) };
}

async function readError(answer: Response): Promise<ErrorBody> {
  const error = (await answer.json().catch(() => undefined)) as Partial<ErrorBody> | undefined;
  if (typeof error?.code === 'string') return error as ErrorBody;
  // The response comes from a proxy, not from the gateway.
  return { code: 'UNAVAILABLE', message: `answered with status ${answer.status}`, retryable: true };
}

function toByteString(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
