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
import { BotFilter } from '../access/bot-filter.js';
import { CreationLimiter } from '../access/creation-limiter.js';
import { GuestPolicy } from '../access/guest-policy.js';
import { OperationLimiter, TokenBucket } from '../access/rate-limit.js';
import { PostSignatureVerifier } from '../access/post-signature-verifier.js';
import type { Clock } from '../common/clock.js';
import type { Key64 } from '../counters/ids.js';
import type { RemoteToggle } from '../counters/replication/delta.js';
import { ActorStreams, toActorRoom } from '../fanout/actor-streams.js';
import { Fanout } from '../fanout/fanout.js';
import { Ingest } from '../ingest/ingest.js';
import { OperationCounts } from '../ingest/operation-counts.js';
import { Presence } from '../fanout/presence.js';
import type { Settings } from '../config/settings.js';
import { CLOCK, DATA_CLOCK, REMOTE_TOGGLES, SETTINGS } from '../config/injection-tokens.js';
import { ActorNotifier } from './actor-events/actor-notifier.js';
import { Connection } from './connection.js';
import type { GatewaySocket } from './gateway-socket.js';
import type { HandlerContext } from './handler-context.js';
import { receiveEvents } from './transport/receive-events.js';
import { FlowControlRegistry } from './flow-control-registry.js';
import { FlushQueue } from './flush-queue.js';
import { PacedReceiver } from './paced-receiver.js';
import { ReadBackpressure } from './read-backpressure.js';
import { EventHandlers } from './event-handlers.js';
import { readFrames } from './transport/ws-frame-reader.js';
import { Shortcuts } from './transport/shortcuts.js';
import { SocketOutput } from './socket-output.js';
import { Subscriptions } from './subscriptions.js';

/** Posts that a connection may look up in a second, at least; more if it may watch more. */
const LOOKUPS_MIN = 500;

/** Opens and closes connections. Their events go from the packet decoder to EventHandlers, and not through NestJS. */
@WebSocketGateway()
export class CountsGateway
  implements OnGatewayInit, OnGatewayConnection<GatewaySocket>, OnGatewayDisconnect<GatewaySocket>
{
  readonly connections = new Map<GatewaySocket, Connection>();
  readonly backpressure: ReadBackpressure;
  readonly #context: HandlerContext;
  readonly #ackQueue: FlushQueue;

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(DATA_CLOCK) dataClock: Clock,
    @Inject(Ingest) private readonly ingest: Ingest,
    @Inject(Fanout) private readonly fanout: Fanout,
    @Inject(Presence) presence: Presence,
    @Inject(REMOTE_TOGGLES) private readonly remoteToggles: Observable<readonly RemoteToggle[]>,
    @Inject(ActorStreams) private readonly actorStreams: ActorStreams,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(CreationLimiter) private readonly creations: CreationLimiter,
    @Inject(PostSignatureVerifier) signatures: PostSignatureVerifier | null,
    @Inject(BotFilter) bots: BotFilter,
    @Inject(GuestPolicy) guests: GuestPolicy,
    @Inject(OperationCounts) counts: OperationCounts,
    @Inject(Shortcuts) private readonly shortcuts: Shortcuts,
    @Inject(FlowControlRegistry) private readonly flowControls: FlowControlRegistry,
  ) {
    const { metrics, maxPostsPerConnection } = settings;
    const subscriptions = new Subscriptions(fanout, metrics, counts, maxPostsPerConnection);
    const backpressure = new ReadBackpressure(ingest, clock);
    this.backpressure = backpressure;
    this.#context = {
      ...{ subscriptions, ingest, backpressure, fanout, presence, metrics, counts, clock, dataClock },
      ...{ bots, guests, signatures },
      additions: metrics.list.map(({ kind }) => kind.operationFor('increment', true).kind),
      isSettable: metrics.list.map(({ kind }) => kind.event === 'set'),
    };
    this.#ackQueue = new FlushQueue(clock);
  }

  afterInit(server: Server): void {
    const { actorStreams, ingest, remoteToggles } = this;
    const namespace = server.of('/');
    actorStreams.useRooms(namespace.adapter);
    new ActorNotifier(namespace, actorStreams, this.settings.metrics, ingest.committed, remoteToggles);
  }

  handleConnection(socket: GatewaySocket): void {
    const { clock, shortcuts } = this;
    const { identity, address } = socket.data;
    const actor = identity.key ?? randomKey();
    const flowControl = this.flowControls.flowControlOf(socket.conn);
    const output = new SocketOutput(socket, this.#ackQueue, clock, shortcuts, flowControl);
    const connection = new Connection({
      socket,
      output,
      flowControl,
      clock,
      actor,
      viewer: this.fanout.open(identity.key, output),
      expiry: callAtExpiry(identity.expiresAtMs, clock, () => output.disconnect(TOKEN_EXPIRED, 0)),
      creations: this.creations.openClient(address, identity.isVerified ? null : actor, identity.key !== null),
      ...this.#createLimits(address),
    });
    this.connections.set(socket, connection);
    if (identity.key !== null) void socket.join(toActorRoom(identity.key));
    readFrames(socket.conn, shortcuts.directRead, flowControl);
    const receiver = new PacedReceiver(
      new EventHandlers(this.#context, connection),
      flowControl,
      this.flowControls.turns,
    );
    receiveEvents(socket, receiver, shortcuts.packetDecoder);
  }

  handleDisconnect(socket: GatewaySocket): void {
    const connection = this.connections.get(socket)!;
    this.connections.delete(socket);
    this.backpressure.remove(connection);
    this.fanout.close(connection.viewer);
    connection.dispose();
  }

  #createLimits(address: string): { operations: OperationLimiter; lookups: TokenBucket } {
    const { maxOpsPerConnection, maxPostsPerConnection } = this.settings;
    const nowMs = this.clock.nowMs();
    const ofAddress = this.addresses.operationTokenBucket(address);
    const operations = new OperationLimiter(new TokenBucket(maxOpsPerConnection, nowMs), ofAddress);
    const rate = Math.max(LOOKUPS_MIN, maxPostsPerConnection);
    const lookups = new TokenBucket(maxOpsPerConnection === 0 ? 0 : rate, nowMs, 2 * rate);
    return { operations, lookups };
  }
}

/** Makes a key for one anonymous connection, so that its toggles count once, too. */
function randomKey(): Key64 {
  const bytes = randomBytes(8);
  return { hi: bytes.readUInt32BE(0), lo: bytes.readUInt32BE(4) };
}
