import type { Act, EventReceiver, PacketReceiver } from './transport/packet-decoder.js';
import type { Intake } from './intake.js';
import type { DeferredInput } from './transport/read-limits.js';
import type { TurnCounter } from './transport/turns.js';

/** Events of one connection in one turn of the event loop: less than a millisecond, even if all of them are refused. */
export const EVENTS_A_TURN = 64;

type Held = { readonly act: Act; readonly post: string; readonly seq: number | undefined; readonly id: number | null };
type HeldEvent = { readonly event: string; readonly args: readonly unknown[]; readonly id: number | null };

/** Shared by all that hold none. */
const NOTHING: (Held | HeldEvent)[] = [];

/**
 * Hands on a connection's events in their order, as many as a turn allows and its units pay for. The rest of what was read
 * waits here: of a WebSocket what TCP brought at once, 64 KiB, and of long-polling one request.
 */
export class PacedReceiver implements PacketReceiver, DeferredInput {
  #left = 0;
  #turn = -1;
  #held = NOTHING;
  /** The first of those held. */
  #next = 0;

  constructor(
    private readonly receiver: EventReceiver,
    private readonly intake: Intake,
    private readonly turns: TurnCounter,
  ) {
    intake.deferredEvents = this;
  }

  get hasDeferred(): boolean {
    return this.#next < this.#held.length;
  }

  act(act: Act, post: string, seq: number | undefined, id: number | null): void {
    if (!this.hasDeferred && this.#mayTake()) this.receiver.act(act, post, seq, id);
    else this.#hold({ act, post, seq, id });
  }

  event(event: string, args: readonly unknown[], id: number | null): void {
    if (!this.hasDeferred && this.#mayTake()) this.receiver.event(event, args, id);
    else this.#hold({ event, args, id });
  }

  otherPacket(): void {
    this.intake.chargeControl();
  }

  handleSome(): void {
    while (this.hasDeferred && this.#mayTake()) {
      const held = this.#held[this.#next]!;
      this.#next += 1;
      if ('act' in held) this.receiver.act(held.act, held.post, held.seq, held.id);
      else this.receiver.event(held.event, held.args, held.id);
    }
    if (this.hasDeferred) return;
    this.#held = NOTHING;
    this.#next = 0;
  }

  #mayTake(): boolean {
    if (this.intake.isBlocked || ((this.#left -= 1) < 0 && !this.#isNextTurn())) return false;
    this.intake.spendOne();
    return true;
  }

  #isNextTurn(): boolean {
    const turn = this.turns.number;
    if (turn === this.#turn) return false;
    this.#turn = turn;
    this.#left = EVENTS_A_TURN - 1;
    return true;
  }

  #hold(held: Held | HeldEvent): void {
    if (this.#held === NOTHING) this.#held = [];
    this.#held.push(held);
    this.intake.deferRest();
  }
}
