import type { Socket } from 'socket.io';
import type { WebSocket } from 'ws';
import type { Place } from '../access/address-limiter.js';
import { MESSAGE_COST, MessageBudget, WRONG_COST } from '../access/message-budget.js';
import type { SuspicionKind } from '../access/suspicions.js';
import { type Clock, systemClock } from '../common/clock.js';

/** Why a connection is not read. It is read again when no reason is left. */
export const BUDGET = 1;
export const CROWD = 2;
export const UNSENT = 4;
const BACKLOG = 8;

/** Frames beside messages that may still come when a connection is not read any more: the rest of what was read before. */
const CONTROL_OVERRUN_MAX = 100;

/** Something that was read and not yet handled, since a connection's part of a turn of the event loop is bounded. */
export interface Backlog {
  readonly waits: boolean;
  /** Handles as much as a turn allows; less when the connection is stopped meanwhile. */
  handleSome(): void;
}

/** The socket that a connection has once its handshake is over. */
export interface Owner {
  /** Stops reading at once. @returns what starts it again, or `null` where that cannot be done */
  stopAtOnce(): (() => void) | null;
  /** Nothing was read for this long. */
  unread(forMs: number): void;
  /** It sends more than it may, and keeps on. */
  endFlood(): void;
}

/** A sender that waits until its units are renewed. */
export interface Waiting {
  readonly address: string;
  /** @returns whether it has units again */
  renew(nowMs: number): boolean;
  goOn(): void;
  /** Its units were used up again and again for so long that it is ended. */
  cut(): void;
  /** Since when, milliseconds. */
  floodingSinceMs: number;
  /** When it last had units again, milliseconds. */
  renewedAtMs: number;
}

/** Where those wait who have no units left. */
export interface WaitingRoom {
  readonly clock: Clock;
  wait(one: Waiting): void;
  left(one: Waiting): void;
  suspect(kind: SuspicionKind, address: string): void;
}

/**
 * Everything that one connection of Engine.IO sends, over whatever transport: its cost, and when it is read.
 *
 *             no units left · too many operations wait · too many answers unread
 *     read ────────────────────────────────────────────────────────────────────▶ not read: TCP lets the client wait
 *       ▲                                                                             │
 *       └────────────── what was read before has been handled, in order ◀─────────────┘
 */
export class Intake implements Waiting {
  /** Whether nothing may be handled at present. Read for each message. */
  stopped = false;
  floodingSinceMs = 0;
  renewedAtMs = -Infinity;
  /** Whether its handshake is over. */
  proved = false;
  /** Its place among those of its address, kept until its last WebSocket is closed. */
  place: Place | null = null;
  /** Events and bytes of the connection that were read and not handled yet. The events come first. */
  events: Backlog | null = null;
  bytes: Backlog | null = null;
  owner: Owner | null = null;
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
    private readonly room: WaitingRoom,
  ) {}

  /** The intake of a connection that has no limits. */
  static unlimited(): Intake {
    const nobody: WaitingRoom = {
      clock: systemClock,
      wait: () => undefined,
      left: () => undefined,
      suspect: () => undefined,
    };
    return new Intake('', new MessageBudget(0, null, systemClock.nowMs()), nobody);
  }

  get isRead(): boolean {
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
  control(): void {
    if (this.stopped && (this.#overrun += 1) > CONTROL_OVERRUN_MAX) {
      if (this.#overrun === CONTROL_OVERRUN_MAX + 1) this.suspect('flood');
      this.terminate();
    } else this.spend(MESSAGE_COST + WRONG_COST);
  }

  /** From now on it is read and stopped with the rest of the connection. */
  attach(webSocket: WebSocket): void {
    this.#webSockets = [...this.#webSockets, webSocket];
    intakeOf.set(webSocket, this);
    webSocket.on('ping', control);
    webSocket.on('pong', control);
    webSocket.on('close', detach);
    webSocket.on('error', suspect);
    this.place?.until(webSocket);
    if (this.#reasons !== 0) webSocket.pause();
  }

  detach(webSocket: WebSocket): void {
    this.#webSockets = this.#webSockets.filter((other) => other !== webSocket);
  }

  suspect(kind: SuspicionKind): void {
    this.room.suspect(kind, this.address);
  }

  pause(reason: number): void {
    if (this.#reasons === 0) {
      this.#stoppedAtMs = this.room.clock.nowMs();
      this.#start = this.owner?.stopAtOnce() ?? this.#stopWebSockets();
    }
    this.#reasons |= reason;
    this.stopped = (this.#reasons & ~BACKLOG) !== 0;
  }

  resume(reason: number): void {
    if ((this.#reasons & reason) === 0) return;
    this.#reasons &= ~reason;
    this.stopped = (this.#reasons & ~BACKLOG) !== 0;
    this.#goOn();
  }

  /** To be called when something was kept for the next turn. */
  keepBacklog(): void {
    this.pause(BACKLOG);
    if (this.#scheduled || this.stopped) return;
    this.#scheduled = true;
    this.room.clock.soon(this.#handleBacklog);
  }

  /** Calls back once the connection is read again: now if it is. */
  whenRead(call: () => void): void {
    if (this.isRead) call();
    else (this.#whenRead ??= []).push(call);
  }

  renew(nowMs: number): boolean {
    const units = this.budget.renew(nowMs, this.#credit);
    if (units > 0) this.#credit = units;
    return units > 0;
  }

  goOn(): void {
    this.resume(BUDGET);
  }

  cut(): void {
    if (this.owner === null) this.terminate();
    else this.owner.endFlood();
    this.#isOver = true;
    this.#letGo();
  }

  /** Ends its WebSockets at once; a connection that has none is closed. */
  terminate(): void {
    if (this.#webSockets.length === 0) this.connection?.close(true);
    this.endWebSockets();
  }

  endWebSockets(): void {
    for (const webSocket of this.#webSockets) webSocket.terminate();
  }

  /** The connection is closed. What its client still sends is read until TCP is closed, too, if it has units left. */
  end(): void {
    this.room.left(this);
    this.#isOver = true;
    this.#letGo();
    this.owner = null;
  }

  #renewOrWait(): void {
    if (this.stopped && (this.#reasons & BUDGET) !== 0) return;
    if (this.renew(this.room.clock.nowMs())) return;
    this.pause(BUDGET);
    this.room.wait(this);
  }

  #stopWebSockets(): () => void {
    for (const webSocket of this.#webSockets) webSocket.pause();
    return () => {
      for (const webSocket of this.#webSockets) webSocket.resume();
    };
  }

  #hasBacklog(): boolean {
    return this.events?.waits === true || this.bytes?.waits === true;
  }

  readonly #handleBacklog = (): void => {
    this.#scheduled = false;
    if (this.stopped) return;
    this.#accountUnread();
    if (this.events?.waits === true) this.events.handleSome();
    else this.bytes?.handleSome();
    this.#goOn();
  };

  #goOn(): void {
    if (this.stopped) return;
    this.#overrun = 0;
    if (this.#hasBacklog()) this.keepBacklog();
    else this.#read();
  }

  /** Operations that were on their way when the connection was rejected must not find that the time has passed. */
  #accountUnread(): void {
    const nowMs = this.room.clock.nowMs();
    this.owner?.unread(nowMs - this.#stoppedAtMs);
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
  intakeOf.get(this)?.control();
}

/** `ws` closes the connection. */
function suspect(this: WebSocket, error: Error & { readonly code?: string }): void {
  if (error.code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') intakeOf.get(this)?.suspect('fragments');
}

function detach(this: WebSocket): void {
  intakeOf.get(this)?.detach(this);
}
