import type { MineEvent } from '../protocol/messages.js';

/** A connection of an actor. */
export interface ActorConnection {
  mine(event: MineEvent): void;
}

/** The connections of actors that gave a name: each learns of what its actor did through another. */
export class Actors {
  readonly #connections = new Map<string, Set<ActorConnection>>();

  join(actor: string, connection: ActorConnection): void {
    const connections = this.#connections.get(actor);
    if (connections === undefined) this.#connections.set(actor, new Set([connection]));
    else connections.add(connection);
  }

  leave(actor: string, connection: ActorConnection): void {
    const connections = this.#connections.get(actor);
    connections?.delete(connection);
    if (connections?.size === 0) this.#connections.delete(actor);
  }

  /** An actor's toggle changed. `by`: the connection that did it and knows, `null` if it was none of these. */
  toggled(actor: string | null, event: MineEvent, by: ActorConnection | null): void {
    if (actor === null) return;
    for (const connection of this.#connections.get(actor) ?? []) if (connection !== by) connection.mine(event);
  }
}
