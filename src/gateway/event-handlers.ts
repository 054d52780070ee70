import type { z } from 'zod';
import { RATE_LIMITED_COST, INVALID_COST } from '../access/message-budget.js';
import { copyText } from '../common/copy-text.js';
import type { MetricKind } from '../counters/metric-kinds.js';
import { explainNoDecrement, explainUnique, LIKES, type Metric, VIEWS } from '../counters/metrics.js';
import { computeTokenCost, type Operation } from '../counters/operation.js';
import { toUpdate } from '../fanout/post-snapshot.js';
import type { OperationKind } from '../ingest/operation-counts.js';
import { type ErrorBody, errorBody } from '../protocol/errors.js';
import type { OperationResponse } from '../protocol/messages.js';
import { validationError } from '../protocol/validation-error.js';
import { type Act, BINARY, type EventReceiver, MESSAGE_TOO_LARGE, TOO_LARGE } from './transport/packet-decoder.js';
import type { Connection } from './connection.js';
import type { HandlerContext } from './handler-context.js';
import { ACT, ADD, SET, SUBSCRIBE, UNSUBSCRIBE } from '../protocol/request-schemas.js';
import { SocketOperation } from './socket-operation.js';
import { type AckId, toAsciiJson } from './socket-output.js';

const EVENTS = ['subscribe', 'unsubscribe', 'like', 'unlike', 'view', 'add', 'set'];

/** Passes one connection's events (docs/protocol.md) to ingest and fan-out. Each event takes one object and is acknowledged. */
export class EventHandlers implements EventReceiver {
  constructor(
    private readonly context: HandlerContext,
    private readonly connection: Connection,
  ) {}

  act(event: Act, post: string, seq: number | undefined, id: AckId): void {
    if (!this.connection.socket.connected) return;
    const { additions, metrics } = this.context;
    // Under long-polling `post` is a slice of the whole request's text and would keep that in memory.
    const own = this.connection.isPolling ? copyText(post) : post;
    if (event === 'view') this.#act(id, own, seq, metrics.list[VIEWS]!, additions[VIEWS]!, 1);
    else this.#act(id, own, seq, metrics.list[LIKES]!, 'set', event === 'like' ? 1 : 0);
  }

  event(event: string, args: readonly unknown[], id: AckId): void {
    // A long-polling request may have events behind the packet that disconnects; socket.io still passes them on.
    if (!this.connection.socket.connected) return;
    if (!EVENTS.includes(event)) this.#rejectBadRequest(id, `unknown event; expected one of: ${EVENTS.join(', ')}`);
    else if (args.length !== 1) this.#rejectBadRequest(id, 'an event takes exactly one object as its payload');
    else this.#dispatch(event, args[0], id);
  }

  #dispatch(event: string, payload: unknown, id: AckId): void {
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
    const { connection, context } = this;
    connection.order.runInOrder(() => context.subscriptions.subscribe(connection, request, id));
  }

  #unsubscribe(payload: unknown, id: AckId): void {
    const request = this.#parse(UNSUBSCRIBE, payload, id);
    if (request === null || !this.#admitLookup([], id)) return;
    const { connection, context } = this;
    connection.order.runInOrder(() => {
      context.fanout.unsubscribe(connection.viewer, request.posts);
      connection.output.acknowledge(id, '{"ok":true}');
    });
  }

  #add(payload: unknown, id: AckId): void {
    const request = this.#parse(ADD, payload, id);
    const metric = request && this.#findMetric(request.metric, 'add', id);
    if (!request || !metric) return;
    const { post, seq, by } = request;
    const fault = by === 1 ? null : explainUnique(metric);
    if (fault === null) this.#act(id, post, seq, metric, this.context.additions[metric.index]!, by);
    else this.#rejectBadRequest(id, `by must be 1: ${fault}`);
  }

  #set(payload: unknown, id: AckId): void {
    const request = this.#parse(SET, payload, id);
    const metric = request && this.#findMetric(request.metric, 'set', id);
    if (!request || !metric) return;
    const fault = request.on ? null : explainNoDecrement(metric);
    if (fault === null) this.#act(id, request.post, request.seq, metric, 'set', request.on ? 1 : 0);
    else this.#rejectBadRequest(id, `on must be true: ${fault}`);
  }

  #act(id: AckId, post: string, seq: number | undefined, metric: Metric, kind: Operation['kind'], value: number): void {
    const { connection, context } = this;
    const unauthorized = context.guests.findRejection(connection.identity, metric);
    if (unauthorized !== null) {
      this.#reject(unauthorized, id);
      return;
    }
    const error = this.#admit(kind, post, value, connection.session === null ? 0 : (seq ?? 0));
    if (error !== null) {
      this.#reject(error, id, kind);
      return;
    }
    if (connection.isBot && metric.kind.event === 'add') {
      void this.#leaveOut(post, id);
      return;
    }
    context.ingest.submit(new SocketOperation(context, connection, id, post, metric.index, kind, value, seq));
    if (context.ingest.isCongested) context.backpressure.pause(connection);
  }

  /** Acknowledges an addition of a bot, which is not counted, with the counts as they are. */
  async #leaveOut(post: string, id: AckId): Promise<void> {
    const { connection, context } = this;
    context.bots.leaveOut(1);
    if (id === null) return;
    connection.order.beginOperation();
    try {
      const counts = await context.fanout.readCounts(post);
      const update = toUpdate(counts, context.presence.countLive(counts), context.metrics);
      const response: OperationResponse = { ok: true, applied: false, duplicate: false, counts: update };
      connection.output.acknowledge(id, toAsciiJson(response));
    } catch {
      connection.output.reject(id, errorBody('UNAVAILABLE', 'the store did not answer in time; retry'));
    } finally {
      connection.order.endOperation();
    }
  }

  /** @returns `null` if the operation is admitted */
  #admit(kind: Operation['kind'], post: string, value: number, seq: number): ErrorBody | null {
    const { connection, context } = this;
    const { operations, creations } = connection;
    const nowMs = context.clock.nowMs();
    const waitMs = operations.admit(nowMs, computeTokenCost(value), seq);
    if (waitMs > 0) return errorBody('RATE_LIMITED', 'too many operations; slow down', waitMs);
    // After the rate limit, so that guessing a signature costs an operation.
    const unsigned = context.signatures?.check(post, connection.address) ?? null;
    if (unsigned !== null || creations === null) return unsigned;
    const error = creations.admit(kind, post, seq !== 0);
    if (error !== null) operations.block(nowMs, error.retryAfterMs ?? 0, seq);
    return error;
  }

  /** @param posts posts that are to be watched */
  #admitLookup(posts: readonly string[], id: AckId): boolean {
    const { connection, context } = this;
    const waitMs = connection.lookups.take(context.clock.nowMs(), Math.max(posts.length, 1));
    const error =
      waitMs > 0
        ? errorBody('RATE_LIMITED', 'too many posts are looked up; slow down', waitMs)
        : (connection.creations?.admitLookups(posts.length) ??
          context.signatures?.checkAll(posts, connection.address) ??
          null);
    if (error === null) return true;
    this.#reject(error, id, 'subscribe');
    return false;
  }

  #parse<S extends z.ZodObject>(schema: S, payload: unknown, id: AckId): z.output<S> | null {
    const parsed = schema.safeParse(payload);
    if (parsed.success) return parsed.data;
    let error = validationError(parsed.error, Object.keys(schema.shape));
    if (payload === TOO_LARGE) error = errorBody('PAYLOAD_TOO_LARGE', MESSAGE_TOO_LARGE);
    if (payload === BINARY) error = errorBody('BAD_REQUEST', 'the payload must be JSON without binary attachments');
    this.#reject(error, id);
    return null;
  }

  /** The metric of this name, if the event takes metrics of its kind. */
  #findMetric(name: string, event: MetricKind['event'], id: AckId): Metric | null {
    const { metrics } = this.context;
    const metric = metrics.byName(name);
    if (metric?.kind.event === event) return metric;
    const taken = metrics.list.filter(({ kind }) => kind.event === event);
    const kinds = [...new Set(taken.map(({ kind }) => kind.plural))].join(' or ');
    this.#rejectBadRequest(id, `metric must be one of the ${kinds}: ${taken.map((one) => one.name).join(', ')}`);
    return null;
  }

  #rejectBadRequest(id: AckId, message: string): void {
    this.#reject(errorBody('BAD_REQUEST', message), id);
  }

  #reject(error: ErrorBody, id: AckId, kind: OperationKind = 'unknown'): void {
    this.context.counts.add(kind, error.code);
    this.connection.flowControl.charge(error.code === 'RATE_LIMITED' ? RATE_LIMITED_COST : INVALID_COST);
    this.connection.output.reject(id, error);
  }
}
