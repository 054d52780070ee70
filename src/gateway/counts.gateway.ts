import { randomBytes } from 'node:crypto';
import { Inject } from '@nestjs/common';
import {
  type OnGatewayConnection,
  type OnGatewayDisconnect,
  type OnGatewayInit,
  WebSocketGateway,
} from '@nestjs/websockets';
import type { Observable } from 'rxjs';
import type { Server } from 'socket.io';
import { AddressLimiter } from '../access/address-limiter.js';
import { callAtExpiry, TOKEN_EXPIRED } from '../access/authenticator.js';
import { CreationLimiter } from '../access/inventions.js';
import { OperationLimiter, TokenBucket } from '../access/rate-limit.js';
import { PostSignatureVerifier } from '../access/signed-posts.js';
import type { Clock } from '../common/clock.js';
import type { Key64 } from '../counters/ids.js';
import type { RemoteToggle } from '../counters/replication/delta.js';
import { Fanout } from '../fanout/fanout.js';
import { Ingest } from '../ingest/ingest.js';
import { OperationCounts } from '../ingest/operation-counts.js';
import { Presence } from '../fanout/presence.js';
import type { Settings } from '../config/settings.js';
import { CLOCK, REMOTE_TOGGLES, SETTINGS } from '../config/injection-tokens.js';
import { ActorNotifier, toActorRoom } from './broadcast/actor-notifier.js';
import { Connection, type GatewaySocket } from './connection.js';
import { receiveEvents } from './transport/event-receiver.js';
import { Intakes } from './intakes.js';
import { AckQueue } from './ack-queue.js';
import { PacedReceiver } from './paced-receiver.js';
import { ReadBackpressure } from './read-backpressure.js';
import { type HandlerContext, EventHandlers } from './event-handlers.js';
import { Shortcuts } from './transport/shortcuts.js';
import { Subscriptions } from './subscriptions.js';

/** Posts that a connection may look up in a second, if it may not watch more anyway. */
const LOOKUPS_MIN = 500;

/** Connections as they come and go; what they ask goes from their decoder straight to their Requests. */
@WebSocketGateway()
export class CountsGateway
  implements OnGatewayInit, OnGatewayConnection<GatewaySocket>, OnGatewayDisconnect<GatewaySocket>
{
  readonly connections = new Set<Connection>();
  readonly backpressure: ReadBackpressure;
  readonly #handling: HandlerContext;
  readonly #outbox: AckQueue;

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(Ingest) private readonly ingest: Ingest,
    @Inject(Fanout) private readonly fanout: Fanout,
    @Inject(Presence) presence: Presence,
    @Inject(REMOTE_TOGGLES) private readonly remoteToggles: Observable<readonly RemoteToggle[]>,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(CreationLimiter) private readonly inventions: CreationLimiter,
    @Inject(PostSignatureVerifier) signedPosts: PostSignatureVerifier | null,
    @Inject(OperationCounts) counts: OperationCounts,
    @Inject(Shortcuts) private readonly shortcuts: Shortcuts,
    @Inject(Intakes) private readonly intakes: Intakes,
  ) {
    const { metrics, maxPostsPerConnection } = settings;
    const answering = { presence, metrics, nowMs: () => clock.nowMs() };
    const subscriptions = new Subscriptions(fanout, metrics, counts, maxPostsPerConnection);
    this.backpressure = new ReadBackpressure(ingest, clock);
    const { backpressure: gate } = this;
    this.#handling = { answering, subscriptions, ingest, gate, fanout, metrics, counts, clock, signedPosts };
    this.#outbox = new AckQueue(clock);
  }

  afterInit(server: Server): void {
    const { metrics } = this.settings;
    new ActorNotifier(server.of('/'), metrics, this.ingest.committed, this.remoteToggles);
  }

  handleConnection(socket: GatewaySocket): void {
    const { identity, address } = socket.data;
    const { maxOpsPerConnection, maxPostsPerConnection } = this.settings;
    const now = this.clock.nowMs();
    const limit = new OperationLimiter(
      new TokenBucket(maxOpsPerConnection, now),
      this.addresses.operationTokenBucket(address),
    );
    const looked = Math.max(LOOKUPS_MIN, maxPostsPerConnection);
    const lookups = new TokenBucket(maxOpsPerConnection === 0 ? 0 : looked, now, 2 * looked);
    const actor = identity.key ?? randomKey();
    const inventor = this.inventions.openClient(address, actor, identity.key !== null);
    const intake = this.intakes.intakeFor(socket.conn);
    const { clock, shortcuts } = this;
    const connection = new Connection(socket, this.#outbox, clock, shortcuts, intake, actor, limit, lookups, inventor);
    connection.viewer = this.fanout.open(identity.actor, connection);
    this.connections.add(connection);
    if (identity.key !== null) void socket.join(toActorRoom(identity.key));
    connection.expiry = callAtExpiry(identity.expiresAtMs, this.clock, () => connection.disconnect(TOKEN_EXPIRED, 0));
    const receiver = new PacedReceiver(new EventHandlers(this.#handling, connection), intake, this.intakes.turns);
    receiveEvents(socket, receiver, this.shortcuts.packetDecoder);
  }

  handleDisconnect(socket: GatewaySocket): void {
    const { connection } = socket.data;
    connection.expiry?.cancel();
    this.connections.delete(connection);
    this.backpressure.remove(connection);
    this.fanout.close(connection.viewer);
    // A client that left without closing: nothing would end what is left of its connection. Once what it sent is answered.
    if (socket.conn.readyState !== 'closed') connection.close();
  }
}

/** For an actor that gave no name: one for this connection, so that its toggles, too, count once. */
function randomKey(): Key64 {
  const bytes = randomBytes(8);
  return { hi: bytes.readUInt32BE(0), lo: bytes.readUInt32BE(4) };
}
