import type { z } from 'zod';
import { TOKEN_REQUIRED } from '../access/authenticator.js';
import { RATE_LIMITED_COST, INVALID_COST } from '../access/message-budget.js';
import type { PostSignatureVerifier } from '../access/signed-posts.js';
import type { Clock } from '../common/clock.js';
import { copyText } from '../counters/ids.js';
import type { Metric, MetricKind, Metrics } from '../counters/metrics.js';
import { LIKES, VIEWS } from '../counters/metrics.js';
import { computeTokenCost, type Operation } from '../counters/operation.js';
import type { Fanout } from '../fanout/fanout.js';
import type { Ingest } from '../ingest/ingest.js';
import type { OperationCounts, OperationKind } from '../ingest/operation-counts.js';
import { type ErrorBody, errorBody } from '../protocol/errors.js';
import { validationError } from '../protocol/invalid.js';
import { type Act, BINARY, type EventReceiver, MESSAGE_TOO_LARGE, TOO_LARGE } from './transport/packet-decoder.js';
import type { AckId, Connection } from './connection.js';
import type { ReadBackpressure } from './read-backpressure.js';
import { ACT, ADD, SET, SUBSCRIBE, UNSUBSCRIBE } from './schemas.js';
import { type Answering, SocketOperation } from './socket-operation.js';
import type { Subscriptions } from './subscriptions.js';

const EVENTS = ['subscribe', 'unsubscribe', 'like', 'unlike', 'view', 'add', 'set'];

/** The parts that requests are handed on to; the same for all connections. */
export interface HandlerContext {
  readonly answering: Answering;
  readonly subscriptions: Subscriptions;
  readonly ingest: Ingest;
  readonly gate: ReadBackpressure;
  readonly fanout: Fanout;
  readonly metrics: Metrics;
  readonly counts: OperationCounts;
  readonly clock: Clock;
  /** `null`: ids are not signed. */
  readonly signedPosts: PostSignatureVerifier | null;
}

/** The events of docs/protocol.md, from one connection to ingest and fan-out. Each takes one object, and is answered. */
export class EventHandlers implements EventReceiver {
  constructor(
    private readonly handling: HandlerContext,
    private readonly connection: Connection,
  ) {}

  act(event: Act, post: string, seq: number | undefined, id: AckId): void {
    if (!this.connection.socket.connected) return;
    const { list } = this.handling.metrics;
    // A message of a WebSocket is as short as the event; one of long-polling is a piece of the whole request.
    const own = this.connection.isPolling ? copyText(post) : post;
    if (event === 'view') this.#act(id, own, seq, list[VIEWS]!, 'add', 1);
    else this.#act(id, own, seq, list[LIKES]!, 'set', event === 'like' ? 1 : 0);
  }

  event(event: string, args: readonly unknown[], id: AckId): void {
    // Events that came in one request behind the packet that disconnects are still passed on.
    if (!this.connection.socket.connected) return;
    if (!EVENTS.includes(event)) this.#badRequest(id, `there is no such event; there are: ${EVENTS.join(', ')}`);
    else if (args.length !== 1) this.#badRequest(id, 'an event takes exactly one object');
    else this.#request(event, args[0], id);
  }

  #request(event: string, payload: unknown, id: AckId): void {
    if (event === 'subscribe') this.#subscribe(payload, id);
    else if (event === 'unsubscribe') this.#unsubscribe(payload, id);
    else if (event === 'add') this.#add(payload, id);
    else if (event === 'set') this.#set(payload, id);
    else {
      const request = this.#parse(ACT, payload, id);
      if (request !== null) this.act(event as Act, request.post, request.seq, id);
    }
  }

  #subscribe(payload: unknown, id: AckId): void {
    const request = this.#parse(SUBSCRIBE, payload, id);
    if (request === null || !this.#admitLookup(request.posts, id)) return;
    const { connection, handling } = this;
    connection.runInOrder(() => handling.subscriptions.subscribe(connection, request, id));
  }

  #unsubscribe(payload: unknown, id: AckId): void {
    const request = this.#parse(UNSUBSCRIBE, payload, id);
    if (request === null || !this.#admitLookup([], id)) return;
    const { connection, handling } = this;
    connection.runInOrder(() => {
      handling.fanout.unsubscribe(connection.viewer, request.posts);
      connection.acknowledge(id, '{"ok":true}');
    });
  }

  #add(payload: unknown, id: AckId): void {
    const request = this.#parse(ADD, payload, id);
    const metric = request && this.#named(request.metric, 'tally', id);
    if (request && metric) this.#act(id, request.post, request.seq, metric, 'add', request.by);
  }

  #set(payload: unknown, id: AckId): void {
    const request = this.#parse(SET, payload, id);
    const metric = request && this.#named(request.metric, 'toggle', id);
    if (request && metric) this.#act(id, request.post, request.seq, metric, 'set', request.on ? 1 : 0);
  }

  #act(id: AckId, post: string, seq: number | undefined, metric: Metric, kind: Operation['kind'], value: number): void {
    const { connection, handling } = this;
    if (!connection.identity.mayAct) {
      this.#refuse(errorBody('UNAUTHORIZED', TOKEN_REQUIRED), id);
      return;
    }
    const error = this.#admit(kind, post, value, connection.session === null ? 0 : (seq ?? 0));
    if (error !== null) {
      this.#refuse(error, id, kind);
      return;
    }
    handling.ingest.submit(new SocketOperation(handling.answering, connection, id, post, metric, kind, value, seq));
    if (handling.ingest.congested) handling.gate.pause(connection);
  }

  /** @returns `null` when the operation may go on */
  #admit(kind: Operation['kind'], post: string, value: number, seq: number): ErrorBody | null {
    const { connection, handling } = this;
    const { operations, inventor } = connection;
    const nowMs = handling.clock.nowMs();
    const waitMs = operations.admit(nowMs, computeTokenCost(value), seq);
    if (waitMs > 0) return errorBody('RATE_LIMITED', 'too many operations; slow down', waitMs);
    // After the rate, so that guessing a signature costs an operation.
    const unsigned = handling.signedPosts?.check(post, connection.address) ?? null;
    if (unsigned !== null || inventor === null) return unsigned;
    const error = inventor.admit(kind, post, seq !== 0);
    if (error !== null) operations.block(nowMs, error.retryAfterMs ?? 0, seq);
    return error;
  }

  /** @param posts those that are to be watched */
  #admitLookup(posts: readonly string[], id: AckId): boolean {
    const { connection, handling } = this;
    const waitMs = connection.lookups.take(handling.clock.nowMs(), Math.max(posts.length, 1));
    const error =
      waitMs > 0
        ? errorBody('RATE_LIMITED', 'too many posts looked up; slow down', waitMs)
        : (connection.inventor?.admitLookups(posts.length) ??
          handling.signedPosts?.checkAll(posts, connection.address) ??
          null);
    if (error === null) return true;
    this.#refuse(error, id, 'subscribe');
    return false;
  }

  #parse<S extends z.ZodObject>(schema: S, payload: unknown, id: AckId): z.output<S> | null {
    const parsed = schema.safeParse(payload);
    if (parsed.success) return parsed.data;
    let error = validationError(parsed.error, Object.keys(schema.shape));
    if (payload === TOO_LARGE) error = errorBody('PAYLOAD_TOO_LARGE', MESSAGE_TOO_LARGE);
    if (payload === BINARY) error = errorBody('BAD_REQUEST', 'the payload must be JSON without binary attachments');
    this.#refuse(error, id);
    return null;
  }

  #named(name: string, kind: MetricKind, id: AckId): Metric | null {
    const { metrics } = this.handling;
    const metric = metrics.byName(name);
    if (metric?.kind === kind) return metric;
    const names = metrics.list.filter((one) => one.kind === kind).map((one) => one.name);
    const which = kind === 'tally' ? 'tallies' : 'toggles';
    this.#badRequest(id, `metric must be one of the ${which}: ${names.join(', ')}`);
    return null;
  }

  #badRequest(id: AckId, message: string): void {
    this.#refuse(errorBody('BAD_REQUEST', message), id);
  }

  #refuse(error: ErrorBody, id: AckId, kind: OperationKind = 'unknown'): void {
    this.handling.counts.add(kind, error.code);
    this.connection.intake.charge(error.code === 'RATE_LIMITED' ? RATE_LIMITED_COST : INVALID_COST);
    this.connection.reject(id, error);
  }
}
