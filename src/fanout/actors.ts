import type { Key64 } from '../counters/ids.js';
import type { MineEvent } from '../protocol/messages.js';

/** Emits to all connections in a room, on this gateway and the others, but not to the one whose id is `except`. */
type EmitMine = (room: string, event: MineEvent, except: string | null) => void;

/**
 * The room that all connections of an actor share. Operators know the name, too (docs/operations.md). Never 20 characters
 * long as the id of a socket is, which the adapter takes for a room of one gateway's.
 */
export function toActorRoom({ hi, lo }: Key64): string {
  return `actor:${hex32(hi)}${hex32(lo)}`;
}

/** Tells an actor's connections what it did through another, or over HTTP. */
export class ActorNotifier {
  /** Whether another gateway may have connections in the room. */
  hasRemoteSubscribers: (room: string) => boolean = () => false;
  /** Set by the gateway when it has its server. */
  emit: EmitMine = () => undefined;

  /** An actor's toggle changed. `by`: the connection that did it and knows, `null` if it was none. */
  notify(actor: Key64, event: MineEvent, by: string | null): void {
    this.emit(toActorRoom(actor), event, by);
  }
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}
