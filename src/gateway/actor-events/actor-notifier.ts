import type { Observable } from 'rxjs';
import type { Metrics } from '../../counters/metrics.js';
import { APPLIED, ON, readSwitched, SWITCHED } from '../../counters/operation.js';
import type { RemoteToggle } from '../../counters/replication/delta.js';
import { type ActorStreams, toActorRoom } from '../../fanout/actor-streams.js';
import type { CommittedBatch } from '../../ingest/ingest-events.js';
import type { PendingOperation } from '../../ingest/pending-operation.js';
import type { MineEvent } from '../../protocol/messages.js';

interface MineEmitter {
  emit(event: 'mine', payload: MineEvent): unknown;
}

/** Socket.IO's namespace, as far as it is used here. */
interface Namespace {
  readonly adapter: {
    readonly rooms: ReadonlyMap<string, ReadonlySet<string>>;
    /** Present only in the adapter that BroadcastAdapter makes. */
    hasRemoteSubscribers?(room: string): boolean;
  };
  /** By id: those of this gateway. */
  readonly sockets: ReadonlyMap<string, MineEmitter>;
  to(room: string): { except(rooms: string[]): MineEmitter };
}

/**
 * Notifies an actor's connections of toggles that changed through another connection, over HTTP, or in another region. Actors do not see
 * which uniques count them.
 */
export class ActorNotifier {
  constructor(
    private readonly namespace: Namespace,
    private readonly streams: ActorStreams,
    private readonly metrics: Metrics,
    committed: Observable<CommittedBatch>,
    remoteToggles: Observable<readonly RemoteToggle[]>,
  ) {
    committed.subscribe((batch) => this.#notifyOfBatch(batch));
    remoteToggles.subscribe((toggles) => {
      for (const { post, metric, actor, on } of toggles) {
        if (!this.#isSettable(metric)) continue;
        const room = toActorRoom(actor);
        if (this.#hasListeners(room, null)) this.#emit(room, this.#toEvent(post, metric, on), []);
      }
    });
  }

  #notifyOfBatch({ operations, outcomes, answeredFrom }: CommittedBatch): void {
    for (let i = answeredFrom; i < operations.length; i++) {
      const operation = operations[i]!;
      const outcome = outcomes[i]!;
      if (operation.kind !== 'set' || (outcome & APPLIED) === 0 || !this.#isSettable(operation.metric)) continue;
      if (operation.notifiesActor) this.#notifyOthers(operations, i, (outcome & ON) !== 0);
      if ((outcome & SWITCHED) !== 0) this.#notifyOfPutOff(operations, i, outcome);
    }
  }

  #isSettable(metric: number): boolean {
    return this.metrics.list[metric]!.kind.event === 'set';
  }

  #notifyOthers(operations: readonly PendingOperation[], index: number, on: boolean): void {
    const { actor, socketId, post, metric } = operations[index]!;
    const room = toActorRoom(actor!);
    if (!this.#hasListeners(room, socketId)) return;
    this.#emit(room, this.#toEvent(post, metric, on), socketsThatSet(operations, index, metric));
  }

  /** The acknowledgement of a choice does not say which other options it has put off, so the connection that sent it is notified, too. */
  #notifyOfPutOff(operations: readonly PendingOperation[], index: number, outcome: number): void {
    const { actor, socketId, notifiesActor, post, metric } = operations[index]!;
    const room = notifiesActor ? toActorRoom(actor!) : null;
    if (room !== null && !this.#hasListeners(room, null)) return;
    for (const other of readSwitched(outcome, this.metrics.otherOptions[metric]!)) {
      const except = socketsThatSet(operations, index, other);
      const event = this.#toEvent(post, other, false);
      if (room !== null) this.#emit(room, event, except);
      else if (socketId !== null && !except.includes(socketId))
        this.namespace.sockets.get(socketId)?.emit('mine', event);
    }
  }

  /** Most actors have one connection. Emitting to a room costs ten times as much as this check. */
  #hasListeners(room: string, except: string | null): boolean {
    const { adapter } = this.namespace;
    const sockets = adapter.rooms.get(room);
    if (sockets !== undefined && sockets.size > (except !== null && sockets.has(except) ? 1 : 0)) return true;
    return adapter.hasRemoteSubscribers?.(room) === true;
  }

  #emit(room: string, event: MineEvent, except: string[]): void {
    this.namespace.to(room).except(except).emit('mine', event);
    this.streams.sendMine(room, event);
  }

  #toEvent(post: string, metric: number, on: boolean): MineEvent {
    return { post, metric: this.metrics.list[metric]!.name, on };
  }
}

/**
 * Sockets that sent the operation at `from`, or a later one of the batch, for this toggle of its post and actor. They are not notified,
 * because their acknowledgements, which are as new or newer, have been written before the notification.
 */
function socketsThatSet(operations: readonly PendingOperation[], from: number, metric: number): string[] {
  const { post, actor } = operations[from]!;
  const sockets: string[] = [];
  for (let i = from; i < operations.length; i++) {
    const other = operations[i]!;
    if (other.socketId === null || other.kind !== 'set' || other.metric !== metric || other.post !== post) continue;
    if (other.actor!.lo === actor!.lo && other.actor!.hi === actor!.hi) sockets.push(other.socketId);
  }
  return sockets;
}
