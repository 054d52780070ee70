import { type Key64, toHex64 } from '../counters/ids.js';
import type { ByeEvent, MineEvent } from '../protocol/messages.js';

/** The streams' own id in the rooms of Socket.IO: no socket has it. */
const STREAMS = 'streams';

/** An event stream of a known actor. */
export interface ActorStream {
  sendMine(event: MineEvent): void;
  sendBye(event: ByeEvent): void;
}

/** Socket.IO's adapter, as far as it is used here. While a room has a member, events from other gateways arrive for it. */
interface Rooms {
  addAll(id: string, rooms: ReadonlySet<string>): unknown;
  del(id: string, room: string): void;
}

/**
 * The room of all connections of an actor. Operators use the name, too (docs/operations.md). It never has 20 characters as
 * the id of a socket has, because the adapter takes such a room for one that exists on a single gateway.
 */
export function toActorRoom(key: Key64): string {
  return `actor:${toHex64(key)}`;
}

/** The event streams of known actors, by the room of their actor: they get the events that the sockets of the room get. */
export class ActorStreams {
  readonly #streams = new Map<string, Set<ActorStream>>();
  #rooms: Rooms | null = null;

  /** To be called before the first stream is added. */
  useRooms(rooms: Rooms): void {
    this.#rooms = rooms;
  }

  add(actor: Key64, stream: ActorStream): void {
    const room = toActorRoom(actor);
    const streams = this.#streams.get(room);
    if (streams !== undefined) {
      streams.add(stream);
      return;
    }
    this.#streams.set(room, new Set([stream]));
    this.#rooms?.addAll(STREAMS, new Set([room]));
  }

  remove(actor: Key64, stream: ActorStream): void {
    const room = toActorRoom(actor);
    const streams = this.#streams.get(room);
    if (streams?.delete(stream) !== true || streams.size > 0) return;
    this.#streams.delete(room);
    this.#rooms?.del(STREAMS, room);
  }

  sendMine(room: string, event: MineEvent): void {
    for (const stream of this.#streams.get(room) ?? []) stream.sendMine(event);
  }

  /** Ends the streams of the actor. */
  sendBye(room: string, event: ByeEvent): void {
    for (const stream of this.#streams.get(room) ?? []) stream.sendBye(event);
  }
}
