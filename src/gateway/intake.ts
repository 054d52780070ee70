import type { Socket } from 'socket.io';
import type { WebSocket } from 'ws';
import type { ConnectionSlot } from '../access/address-limiter.js';
import { MESSAGE_COST, MessageBudget, INVALID_COST } from '../access/message-budget.js';
import type { SuspicionKind } from '../access/suspicions.js';
import { type Clock, systemClock } from '../common/clock.js';

/** Why a connection is not read. It is read again when no reason is left. */
export const NO_UNITS = 1;
export const CONGESTED = 2;
export const UNREAD_ACKS = 4;
const BACKLOG = 8;

/** Frames beside messages that may still come when a connection is not read any more: the rest of what was read before. */
const CONTROL_OVERRUN_MAX = 100;

/** Something that was read and not yet handled, since a connection's part of a turn of the event loop is bounded. */
export interface DeferredInput {
  readonly hasDeferred: boolean;
  /** Handles as much as a turn allows; less when the connection is stopped meanwhile. */
  handleSome(): void;
}

/** The socket that a connection has once its handshake is over. */
export interface IntakeOwner {
  /** Stops reading at once. @returns what starts it again, or `null` where that cannot be done */
  pauseReading(): (() => void) | null;
  /** Nothing was read for this long. */
  excludePause(forMs: number): void;
  /** It sends more than it may, and keeps on. */
  disconnectFlooding(): void;
}

/** A sender that waits until its units are renewed. */
export interface UnitWaiter {
  readonly address: string;
  /** @returns whether it has units again */
  renew(nowMs: number): boolean;
  proceed(): void;
  /** Its units were used up again and again for so long that it is ended. */
  disconnectFlooding(): void;
  /** Since when, milliseconds. */
  floodingSinceMs: number;
  /** When it last had units again, milliseconds. */
  renewedAtMs: number;
}

/** Where those wait who have no units left. */
export interface UnitQueue {
  readonly clock: Clock;
  enqueue(one: UnitWaiter): void;
  remove(one: UnitWaiter): void;
  reportSuspicion(kind: SuspicionKind, address: string): void;
}

/**
 * Everything that one connection of Engine.IO sends, over whatever transport: its cost, and when it is read.
 *
 *             no units left · too many operations wait · too many answers unread
 *     read ────────────────────────────────────────────────────────────────────▶ not read: TCP lets the client wait
 *       ▲                                                                             │
 *       └────────────── what was read before has been handled, in order ◀─────────────┘
 */
export class Intake implements UnitWaiter {
  /** Whether nothing may be handled at present. Read for each message. */
  isBlocked = false;
  floodingSinceMs = 0;
  renewedAtMs = -Infinity;
  /** Whether its handshake is over. */
  handshakeDone = false;
  /** Its place among those of its address, kept until its last WebSocket is closed. */
  connectionSlot: ConnectionSlot | null = null;
  /** Events and bytes of the connection that were read and not handled yet. The events come first. */
  deferredEvents: DeferredInput | null = null;
  deferredBytes: DeferredInput | null = null;
  owner: IntakeOwner | null = null;
  /** `null` before Engine.IO has begun one. */
  connection: Socket['conn'] | null = null;
  #credit = 0;
  #reasons = 0;
  #stoppedAtMs = 0;
  #overrun = 0;
  #scheduled = false;
  /** Whether nothing that comes is handled any more. */
  #isOver = false;
  #start: (() => void) | null = null;
  #whenRead: (() => void)[] | null = null;
  #webSockets: readonly WebSocket[] = [];

  constructor(
    readonly address: string,
    private readonly budget: MessageBudget,
    private readonly room: UnitQueue,
  ) {}

  /** The intake of a connection that has no limits. */
  static unlimited(): Intake {
    const nobody: UnitQueue = {
      clock: systemClock,
      enqueue: () => undefined,
      remove: () => undefined,
      reportSuspicion: () => undefined,
    };
    return new Intake('', new MessageBudget(0, null, systemClock.nowMs()), nobody);
  }

  get isReading(): boolean {
    return this.#reasons === 0 || this.#isOver;
  }

  get webSockets(): readonly WebSocket[] {
    return this.#webSockets;
  }

  /** Takes the unit of a message. */
  spendOne(): void {
    if ((this.#credit -= MESSAGE_COST) < 0) this.#renewOrWait();
  }

  /** Takes units for something that came. */
  spend(units: number): void {
    if ((this.#credit -= units) < 0) this.#renewOrWait();
  }

  /** As `spend`, for what a message costs on top: the next message notices. */
  charge(units: number): void {
    this.#credit -= units;
  }

  /** A ping, a pong, or a packet that no client needs. */
  chargeControl(): void {
    if (this.isBlocked && (this.#overrun += 1) > CONTROL_OVERRUN_MAX) {
      if (this.#overrun === CONTROL_OVERRUN_MAX + 1) this.reportSuspicion('flood');
      this.terminate();
    } else this.spend(MESSAGE_COST + INVALID_COST);
  }

  /** From now on it is read and stopped with the rest of the connection. */
  attach(webSocket: WebSocket): void {
    this.#webSockets = [...this.#webSockets, webSocket];
    intakeOf.set(webSocket, this);
    webSocket.on('ping', control);
    webSocket.on('pong', control);
    webSocket.on('close', detach);
    webSocket.on('error', suspect);
    this.connectionSlot?.holdUntilClosed(webSocket);
    if (this.#reasons !== 0) webSocket.pause();
  }

  detach(webSocket: WebSocket): void {
    this.#webSockets = this.#webSockets.filter((other) => other !== webSocket);
  }

  reportSuspicion(kind: SuspicionKind): void {
    this.room.reportSuspicion(kind, this.address);
  }

  pause(reason: number): void {
    if (this.#reasons === 0) {
      this.#stoppedAtMs = this.room.clock.nowMs();
      this.#start = this.owner?.pauseReading() ?? this.#stopWebSockets();
    }
    this.#reasons |= reason;
    this.isBlocked = (this.#reasons & ~BACKLOG) !== 0;
  }

  resume(reason: number): void {
    if ((this.#reasons & reason) === 0) return;
    this.#reasons &= ~reason;
    this.isBlocked = (this.#reasons & ~BACKLOG) !== 0;
    this.#goOn();
  }

  /** To be called when something was kept for the next turn. */
  deferRest(): void {
    this.pause(BACKLOG);
    if (this.#scheduled || this.isBlocked) return;
    this.#scheduled = true;
    this.room.clock.soon(this.#handleBacklog);
  }

  /** Calls back once the connection is read again: now if it is. */
  onceReading(call: () => void): void {
    if (this.isReading) call();
    else (this.#whenRead ??= []).push(call);
  }

  renew(nowMs: number): boolean {
    const units = this.budget.renew(nowMs, this.#credit);
    if (units > 0) this.#credit = units;
    return units > 0;
  }

  proceed(): void {
    this.resume(NO_UNITS);
  }

  disconnectFlooding(): void {
    if (this.owner === null) this.terminate();
    else this.owner.disconnectFlooding();
    this.#isOver = true;
    this.#letGo();
  }

  /** Ends its WebSockets at once; a connection that has none is closed. */
  terminate(): void {
    if (this.#webSockets.length === 0) this.connection?.close(true);
    this.terminateWebSockets();
  }

  terminateWebSockets(): void {
    for (const webSocket of this.#webSockets) webSocket.terminate();
  }

  /** The connection is closed. What its client still sends is read until TCP is closed, too, if it has units left. */
  connectionClosed(): void {
    this.room.remove(this);
    this.#isOver = true;
    this.#letGo();
    this.owner = null;
  }

  #renewOrWait(): void {
    if (this.isBlocked && (this.#reasons & NO_UNITS) !== 0) return;
    if (this.renew(this.room.clock.nowMs())) return;
    this.pause(NO_UNITS);
    this.room.enqueue(this);
  }

  #stopWebSockets(): () => void {
    for (const webSocket of this.#webSockets) webSocket.pause();
    return () => {
      for (const webSocket of this.#webSockets) webSocket.resume();
    };
  }

  #hasBacklog(): boolean {
    return this.deferredEvents?.hasDeferred === true || this.deferredBytes?.hasDeferred === true;
  }

  readonly #handleBacklog = (): void => {
    this.#scheduled = false;
    if (this.isBlocked) return;
    this.#accountUnread();
    if (this.deferredEvents?.hasDeferred === true) this.deferredEvents.handleSome();
    else this.deferredBytes?.handleSome();
    this.#goOn();
  };

  #goOn(): void {
    if (this.isBlocked) return;
    this.#overrun = 0;
    if (this.#hasBacklog()) this.deferRest();
    else this.#read();
  }

  /** Operations that were on their way when the connection was rejected must not find that the time has passed. */
  #accountUnread(): void {
    const nowMs = this.room.clock.nowMs();
    this.owner?.excludePause(nowMs - this.#stoppedAtMs);
    this.#stoppedAtMs = nowMs;
  }

  #read(): void {
    this.#accountUnread();
    this.#reasons = 0;
    const start = this.#start;
    this.#start = null;
    start?.();
    this.#letGo();
  }

  #letGo(): void {
    const calls = this.#whenRead;
    this.#whenRead = null;
    if (calls !== null) for (const call of calls) call();
  }
}

const intakeOf = new WeakMap<WebSocket, Intake>();

/** One for all connections, as are those below. */
function control(this: WebSocket): void {
  intakeOf.get(this)?.chargeControl();
}

/** `ws` closes the connection. */
function suspect(this: WebSocket, error: Error & { readonly code?: string }): void {
  if (error.code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') intakeOf.get(this)?.reportSuspicion('fragments');
}

function detach(this: WebSocket): void {
  intakeOf.get(this)?.detach(this);
}
