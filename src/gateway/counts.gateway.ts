import { randomBytes } from 'node:crypto';
import { Inject } from '@nestjs/common';
import {
  type OnGatewayConnection,
  type OnGatewayDisconnect,
  type OnGatewayInit,
  SubscribeMessage,
  WebSocketGateway,
} from '@nestjs/websockets';
import type { Server } from 'socket.io';
import type { z } from 'zod';
import { Addresses } from '../access/addresses.js';
import { atExpiry, TOKEN_EXPIRED, TOKEN_NEEDED } from '../access/identity.js';
import { OperationLimit, TokenBucket } from '../access/rate-limit.js';
import type { Clock } from '../clock.js';
import type { Key64 } from '../counters/ids.js';
import { LIKES, type Metric, type MetricKind, VIEWS } from '../counters/metrics.js';
import type { Operation } from '../counters/operation.js';
import { Actors, roomOf } from '../fanout/actors.js';
import { Fanout } from '../fanout/fanout.js';
import { Ingest } from '../ingest/ingest.js';
import { OperationCounts } from '../ingest/operation-counts.js';
import { Presence } from '../presence/presence.js';
import { type ErrorBody, errorBody } from '../protocol/errors.js';
import { invalid } from '../protocol/invalid.js';
import type { Settings } from '../settings.js';
import { CLOCK, SETTINGS } from '../tokens.js';
import { BINARY, MESSAGE_TOO_LARGE, TOO_LARGE } from './bounded-parser.js';
import { type Acknowledge, Connection, type CountsSocket } from './connection.js';
import { ACT, ADD, SET, SUBSCRIBE, UNSUBSCRIBE } from './schemas.js';
import { type Answering, SocketOperation } from './socket-operation.js';
import { Subscriptions } from './subscriptions.js';

/** Posts that a connection may look up in a second, if it may not watch more anyway. */
const LOOKUPS_MIN = 500;

/** The events of docs/protocol.md, from a socket to ingest and fan-out. Each takes one object and an acknowledgement. */
@WebSocketGateway()
export class CountsGateway
  implements OnGatewayInit, OnGatewayConnection<CountsSocket>, OnGatewayDisconnect<CountsSocket>
{
  readonly connections = new Set<Connection>();
  readonly #answering: Answering;
  readonly #subscriptions: Subscriptions;

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(Ingest) private readonly ingest: Ingest,
    @Inject(Fanout) private readonly fanout: Fanout,
    @Inject(Presence) presence: Presence,
    @Inject(Actors) private readonly actors: Actors,
    @Inject(Addresses) private readonly addresses: Addresses,
    @Inject(OperationCounts) private readonly counts: OperationCounts,
  ) {
    const { metrics, maxPostsPerConnection } = settings;
    this.#answering = { presence, actors, metrics, counts, nowMs: () => clock.nowMs() };
    this.#subscriptions = new Subscriptions(fanout, presence, metrics, counts, maxPostsPerConnection);
  }

  afterInit(server: Server): void {
    this.actors.emit = (room, event, except) =>
      server
        .to(room)
        .except(except ?? [])
        .emit('mine', event);
  }

  handleConnection(socket: CountsSocket): void {
    const { identity, address } = socket.data;
    const { maxOpsPerConnection, maxPostsPerConnection } = this.settings;
    const now = this.clock.nowMs();
    const limit = new OperationLimit(new TokenBucket(maxOpsPerConnection, now), this.addresses.operations(address));
    const looked = Math.max(LOOKUPS_MIN, maxPostsPerConnection);
    const lookups = new TokenBucket(maxOpsPerConnection === 0 ? 0 : looked, now, 2 * looked);
    const connection = new Connection(socket, this.clock, identity.key ?? randomKey(), limit, lookups);
    connection.viewer = this.fanout.open(identity.actor, connection);
    socket.data.connection = connection;
    this.connections.add(connection);
    if (identity.key !== null) void socket.join(roomOf(identity.key));
    connection.expiry = atExpiry(identity.expiresAtMs, this.clock, () => connection.bye(TOKEN_EXPIRED, 0));
  }

  handleDisconnect(socket: CountsSocket): void {
    const { connection } = socket.data;
    connection.expiry?.cancel();
    this.connections.delete(connection);
    this.fanout.close(connection.viewer);
    // A client that left without closing: nothing would end what is left of its connection. Once what it sent is answered.
    this.clock.soon(() => socket.conn.close());
  }

  @SubscribeMessage('subscribe')
  subscribe({ data: { connection } }: CountsSocket, payload: unknown, acknowledge?: Acknowledge): void {
    const request = this.#parse(connection, SUBSCRIBE, payload, acknowledge);
    if (request === null || !this.#admitLookup(connection, request.posts.length, acknowledge)) return;
    connection.inOrder(() => this.#subscriptions.subscribe(connection, request, acknowledge));
  }

  @SubscribeMessage('unsubscribe')
  unsubscribe({ data: { connection } }: CountsSocket, payload: unknown, acknowledge?: Acknowledge): void {
    const request = this.#parse(connection, UNSUBSCRIBE, payload, acknowledge);
    if (request === null || !this.#admitLookup(connection, 1, acknowledge)) return;
    connection.inOrder(() => {
      this.fanout.unsubscribe(connection.viewer, request.posts);
      connection.answer(acknowledge, { ok: true });
    });
  }

  @SubscribeMessage('like')
  like({ data: { connection } }: CountsSocket, payload: unknown, acknowledge?: Acknowledge): void {
    this.#actOn(connection, payload, acknowledge, LIKES, 'set', 1);
  }

  @SubscribeMessage('unlike')
  unlike({ data: { connection } }: CountsSocket, payload: unknown, acknowledge?: Acknowledge): void {
    this.#actOn(connection, payload, acknowledge, LIKES, 'set', 0);
  }

  @SubscribeMessage('view')
  view({ data: { connection } }: CountsSocket, payload: unknown, acknowledge?: Acknowledge): void {
    this.#actOn(connection, payload, acknowledge, VIEWS, 'add', 1);
  }

  @SubscribeMessage('add')
  add({ data: { connection } }: CountsSocket, payload: unknown, acknowledge?: Acknowledge): void {
    const request = this.#parse(connection, ADD, payload, acknowledge);
    const metric = request && this.#named(connection, request.metric, 'tally', acknowledge);
    if (request && metric) this.#act(connection, acknowledge, request, metric, 'add', request.by);
  }

  @SubscribeMessage('set')
  set({ data: { connection } }: CountsSocket, payload: unknown, acknowledge?: Acknowledge): void {
    const request = this.#parse(connection, SET, payload, acknowledge);
    const metric = request && this.#named(connection, request.metric, 'toggle', acknowledge);
    if (request && metric) this.#act(connection, acknowledge, request, metric, 'set', request.on ? 1 : 0);
  }

  /** Refuses what did not reach a handler: an unknown event, or one with other than one payload. */
  refuse({ data: { connection } }: CountsSocket, message: string, acknowledge?: Acknowledge): void {
    this.#refuse(connection, errorBody('BAD_REQUEST', message), acknowledge);
  }

  /** For events whose name says all but the post. */
  #actOn(
    connection: Connection,
    payload: unknown,
    acknowledge: Acknowledge | undefined,
    index: number,
    kind: Operation['kind'],
    value: number,
  ): void {
    const request = this.#parse(connection, ACT, payload, acknowledge);
    const metric = this.settings.metrics.list[index]!;
    if (request !== null) this.#act(connection, acknowledge, request, metric, kind, value);
  }

  #act(
    connection: Connection,
    acknowledge: Acknowledge | undefined,
    { post, seq }: { readonly post: string; readonly seq?: number | undefined },
    metric: Metric,
    kind: Operation['kind'],
    value: number,
  ): void {
    if (!connection.identity.mayAct) {
      this.#refuse(connection, errorBody('UNAUTHORIZED', TOKEN_NEEDED), acknowledge);
      return;
    }
    const waitMs = connection.operations.admit(this.clock.nowMs());
    if (waitMs > 0) {
      this.counts.add(kind, 'RATE_LIMITED');
      connection.refuse(acknowledge, errorBody('RATE_LIMITED', 'too many operations; slow down', waitMs));
      return;
    }
    this.ingest.submit(new SocketOperation(this.#answering, connection, acknowledge, post, metric, kind, value, seq));
  }

  #admitLookup(connection: Connection, posts: number, acknowledge: Acknowledge | undefined): boolean {
    const waitMs = connection.lookups.take(this.clock.nowMs(), Math.min(posts, connection.lookups.burst));
    if (waitMs === 0) return true;
    this.counts.add('subscribe', 'RATE_LIMITED');
    connection.refuse(acknowledge, errorBody('RATE_LIMITED', 'too many posts looked up; slow down', waitMs));
    return false;
  }

  #parse<S extends z.ZodObject>(
    connection: Connection,
    schema: S,
    payload: unknown,
    acknowledge: Acknowledge | undefined,
  ): z.output<S> | null {
    const parsed = schema.safeParse(payload);
    if (parsed.success) return parsed.data;
    let error = invalid(parsed.error, Object.keys(schema.shape));
    if (payload === TOO_LARGE) error = errorBody('PAYLOAD_TOO_LARGE', MESSAGE_TOO_LARGE);
    if (payload === BINARY) error = errorBody('BAD_REQUEST', 'the payload must be JSON without binary attachments');
    this.#refuse(connection, error, acknowledge);
    return null;
  }

  #named(connection: Connection, name: string, kind: MetricKind, acknowledge?: Acknowledge): Metric | null {
    const metric = this.settings.metrics.byName(name);
    if (metric?.kind === kind) return metric;
    const names = this.settings.metrics.list.filter((one) => one.kind === kind).map((one) => one.name);
    const which = kind === 'tally' ? 'tallies' : 'toggles';
    this.#refuse(
      connection,
      errorBody('BAD_REQUEST', `metric must be one of the ${which}: ${names.join(', ')}`),
      acknowledge,
    );
    return null;
  }

  #refuse(connection: Connection, error: ErrorBody, acknowledge: Acknowledge | undefined): void {
    this.counts.add('unknown', error.code);
    connection.refuse(acknowledge, error);
  }
}

/** For an actor that gave no name: one for this connection, so that its toggles, too, count once. */
function randomKey(): Key64 {
  const bytes = randomBytes(8);
  return { hi: bytes.readUInt32BE(0), lo: bytes.readUInt32BE(4) };
}
