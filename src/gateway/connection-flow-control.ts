import type { WebSocket } from 'ws';
import type { ConnectionSlot } from '../access/address-limiter.js';
import { FRAME_BYTES_PER_UNIT, INVALID_COST, MESSAGE_COST, type MessageBudget } from '../access/message-budget.js';
import type { SuspicionKind } from '../access/suspicion-log.js';
import { ConnectionWebSockets } from './connection-web-sockets.js';
import type { EngineSocket } from './transport/engine-internals.js';
import type { DeferredInput, ReaderLimits } from './transport/reader-limits.js';
import type { WaitingSenders, UnitWaiter } from './waiting-senders.js';

/** Reasons why a connection is not read, as bits. It is read again when none is left. */
export const NO_UNITS = 1;
export const CONGESTED = 2;
export const UNREAD_ACKS = 4;
const DEFERRED_INPUT = 8;

/** Control frames that may still arrive at a paused connection: the rest of what was read before. */
const CONTROL_OVERRUN_MAX = 100;

/** The connection that is controlled, once its handshake is done. */
export interface FlowControlOwner {
  /** Stops reading at once. @returns a function that starts it again; `null` if reading cannot be stopped at once */
  pauseReading(): (() => void) | null;
  /** Nothing was read for this long. */
  excludePause(forMs: number): void;
  /** The client has sent more than it may, for too long. */
  disconnectFlooding(): void;
}

/**
 * Flow control for everything that one Engine.IO connection sends, over any transport: what it costs, and when it is read.
 *
 *             no units · congested · too many unread acknowledgements
 *     read ─────────────────────────────────────────────────────────────▶ paused: TCP makes the client wait
 *       ▲                                                                    │
 *       └─────────── input that was read before is handled, in order ◀───────┘
 */
export class FlowControl implements UnitWaiter, ReaderLimits {
  /** Whether nothing may be handled at present. Read for each message. */
  isBlocked = false;
  floodingSinceMs = 0;
  renewedAtMs = -Infinity;
  isHandshakeDone = false;
  /** The connection's slot among those of its address, kept until its last WebSocket is closed. */
  connectionSlot: ConnectionSlot | null = null;
  /** Events and bytes of the connection that were read and not handled yet. Events are handled first. */
  deferredEvents: DeferredInput | null = null;
  deferredBytes: DeferredInput | null = null;
  owner: FlowControlOwner | null = null;
  /** `null` until Engine.IO has created it. */
  connection: EngineSocket | null = null;
  /** Units that are left of those that the budget granted. */
  #credit = 0;
  #reasons = 0;
  #pausedAtMs = 0;
  #overrun = 0;
  #isScheduled = false;
  /** Whether nothing that arrives is handled any more. */
  #isOver = false;
  #resumeReading: (() => void) | null = null;
  #whenReading: (() => void)[] | null = null;
  readonly #webSockets = new ConnectionWebSockets(this);

  constructor(
    readonly address: string,
    private readonly budget: MessageBudget,
    private readonly queue: Pick<WaitingSenders, 'clock' | 'enqueue' | 'remove' | 'reportSuspicion'>,
  ) {}

  get isReading(): boolean {
    return this.#reasons === 0 || this.#isOver;
  }

  get webSockets(): readonly WebSocket[] {
    return this.#webSockets.list;
  }

  /** Spends the unit of a message. */
  spendOne(): void {
    if ((this.#credit -= MESSAGE_COST) < 0) this.#renewOrWait();
  }

  spend(units: number): void {
    if ((this.#credit -= units) < 0) this.#renewOrWait();
  }

  spendBytes(bytes: number): void {
    this.spend(bytes / FRAME_BYTES_PER_UNIT);
  }

  /** Charges what a message costs on top. Only the next message waits for it. */
  charge(units: number): void {
    this.#credit -= units;
  }

  /** Charges for a ping, a pong, or a packet that no client needs. */
  chargeControl(): void {
    if (this.isBlocked && (this.#overrun += 1) > CONTROL_OVERRUN_MAX) {
      if (this.#overrun === CONTROL_OVERRUN_MAX + 1) this.reportSuspicion('flood');
      this.terminate();
    } else this.spend(MESSAGE_COST + INVALID_COST);
  }

  attach(webSocket: WebSocket): void {
    this.#webSockets.attach(webSocket);
    this.connectionSlot?.holdUntilClosed(webSocket);
    if (this.#reasons !== 0) webSocket.pause();
  }

  reportSuspicion(kind: SuspicionKind): void {
    this.queue.reportSuspicion(kind, this.address);
  }

  pause(reason: number): void {
    if (this.#reasons === 0) {
      this.#pausedAtMs = this.queue.clock.nowMs();
      this.#resumeReading = this.owner?.pauseReading() ?? this.#webSockets.pause();
    }
    this.#reasons |= reason;
    this.isBlocked = (this.#reasons & ~DEFERRED_INPUT) !== 0;
  }

  resume(reason: number): void {
    if ((this.#reasons & reason) === 0) return;
    this.#reasons &= ~reason;
    this.isBlocked = (this.#reasons & ~DEFERRED_INPUT) !== 0;
    this.#proceed();
  }

  deferRest(): void {
    this.pause(DEFERRED_INPUT);
    if (this.#isScheduled || this.isBlocked) return;
    this.#isScheduled = true;
    this.queue.clock.soon(this.#handleDeferred);
  }

  /** Calls back once the connection is read again: at once if it is read now. */
  onceReading(callback: () => void): void {
    if (this.isReading) callback();
    else (this.#whenReading ??= []).push(callback);
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
    this.#callWhenReading();
  }

  /** Terminates the WebSockets. A connection that has none is closed. */
  terminate(): void {
    if (this.#webSockets.list.length === 0) this.connection?.close(true);
    this.#webSockets.terminate();
  }

  terminateWebSockets(): void {
    this.#webSockets.terminate();
  }

  /** The connection is closed. Bytes that its client still sends are read until TCP is closed, too, if units are left. */
  connectionClosed(): void {
    this.queue.remove(this);
    this.#isOver = true;
    this.#callWhenReading();
    this.owner = null;
  }

  #renewOrWait(): void {
    if (this.isBlocked && (this.#reasons & NO_UNITS) !== 0) return;
    if (this.renew(this.queue.clock.nowMs())) return;
    this.pause(NO_UNITS);
    this.queue.enqueue(this);
  }

  #hasDeferred(): boolean {
    return this.deferredEvents?.hasDeferred === true || this.deferredBytes?.hasDeferred === true;
  }

  readonly #handleDeferred = (): void => {
    this.#isScheduled = false;
    if (this.isBlocked) return;
    this.#excludePause();
    if (this.deferredEvents?.hasDeferred === true) this.deferredEvents.handleSome();
    else this.deferredBytes?.handleSome();
    this.#proceed();
  };

  #proceed(): void {
    if (this.isBlocked) return;
    this.#overrun = 0;
    if (this.#hasDeferred()) this.deferRest();
    else this.#read();
  }

  /** The time of the pause must not count for operations that were on their way when an earlier one was rejected. */
  #excludePause(): void {
    const nowMs = this.queue.clock.nowMs();
    this.owner?.excludePause(nowMs - this.#pausedAtMs);
    this.#pausedAtMs = nowMs;
  }

  #read(): void {
    this.#excludePause();
    this.#reasons = 0;
    const resumeReading = this.#resumeReading;
    this.#resumeReading = null;
    resumeReading?.();
    this.#callWhenReading();
  }

  #callWhenReading(): void {
    const callbacks = this.#whenReading;
    this.#whenReading = null;
    if (callbacks !== null) for (const callback of callbacks) callback();
  }
}
