import type { Act, EventReceiver, PacketReceiver } from './transport/packet-decoder.js';
import type { FlowControl } from './connection-flow-control.js';
import type { DeferredInput } from './transport/reader-limits.js';
import type { TurnCounter } from './transport/turn-counter.js';

/** Events of one connection in one turn of the event loop: less than a millisecond, even if all of them are rejected. */
export const EVENTS_A_TURN = 64;

type DeferredAct = {
  readonly act: Act;
  readonly post: string;
  readonly seq: number | undefined;
  readonly id: number | null;
};
type DeferredEvent = { readonly event: string; readonly args: readonly unknown[]; readonly id: number | null };

/** Shared by all receivers without deferred events. */
const NONE: (DeferredAct | DeferredEvent)[] = [];

/**
 * Passes on a connection's events in order, as many as a turn allows and as have units. The rest of what was read waits
 * here: up to 64 KiB from the TCP connection of a WebSocket, or one request of long-polling.
 */
export class PacedReceiver implements PacketReceiver, DeferredInput {
  #left = 0;
  #turn = -1;
  #deferred = NONE;
  /** The index of the first deferred event. */
  #next = 0;

  constructor(
    private readonly receiver: EventReceiver,
    private readonly flowControl: FlowControl,
    private readonly turns: TurnCounter,
  ) {
    flowControl.deferredEvents = this;
  }

  get hasDeferred(): boolean {
    return this.#next < this.#deferred.length;
  }

  act(act: Act, post: string, seq: number | undefined, id: number | null): void {
    if (!this.hasDeferred && this.#mayHandle()) this.receiver.act(act, post, seq, id);
    else this.#defer({ act, post, seq, id });
  }

  event(event: string, args: readonly unknown[], id: number | null): void {
    if (!this.hasDeferred && this.#mayHandle()) this.receiver.event(event, args, id);
    else this.#defer({ event, args, id });
  }

  otherPacket(): void {
    this.flowControl.chargeControl();
  }

  handleSome(): void {
    while (this.hasDeferred && this.#mayHandle()) {
      const deferred = this.#deferred[this.#next]!;
      this.#next += 1;
      if ('act' in deferred) this.receiver.act(deferred.act, deferred.post, deferred.seq, deferred.id);
      else this.receiver.event(deferred.event, deferred.args, deferred.id);
    }
    if (this.hasDeferred) return;
    this.#deferred = NONE;
    this.#next = 0;
  }

  #mayHandle(): boolean {
    if (this.flowControl.isBlocked || ((this.#left -= 1) < 0 && !this.#isNextTurn())) return false;
    this.flowControl.spendOne();
    return true;
  }

  #isNextTurn(): boolean {
    const turn = this.turns.number;
    if (turn === this.#turn) return false;
    this.#turn = turn;
    this.#left = EVENTS_A_TURN - 1;
    return true;
  }

  #defer(deferred: DeferredAct | DeferredEvent): void {
    if (this.#deferred === NONE) this.#deferred = [];
    this.#deferred.push(deferred);
    this.flowControl.deferRest();
  }
}
