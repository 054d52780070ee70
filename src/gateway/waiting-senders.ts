import type { SuspicionKind, SuspicionLog } from '../access/suspicion-log.js';
import type { Clock } from '../common/clock.js';

/** How often waiting senders are checked. At 10,000 units a second, some 15 connections of an address continue each time. */
const RENEW_MS = 50;
/** A sender floods on if it uses up its units again within this time after it got some. */
const FLOOD_GAP_MS = 1_000;
/** A sender that floods for this long is disconnected. A client that sends 10,000 operations at once, twice, is done by then. */
const FLOOD_MS = 10_000;
/** Addresses with waiting messages that are remembered at once; those that began first are forgotten. */
const ADDRESSES_MAX = 1_000;

/** A sender that waits until its units are renewed. */
export interface UnitWaiter {
  readonly address: string;
  /** Monotonic time at which the flood began. */
  floodingSinceMs: number;
  /** Monotonic time at which the sender last got units after a wait. */
  renewedAtMs: number;
  /** @returns whether the sender has units again */
  renew(nowMs: number): boolean;
  proceed(): void;
  /** Its units were used up again and again for so long that it is disconnected. */
  disconnectFlooding(): void;
}

interface WaitingAddress {
  readonly sinceMs: number;
  atMs: number;
  isReported: boolean;
}

/** Senders without units: connections and requests. They continue when they have units again, or are disconnected for flooding. */
export class WaitingSenders {
  /** In the order in which they began to wait, so that the connections of an address take turns. */
  readonly #waiting = new Set<UnitWaiter>();
  /** Addresses whose messages wait again and again. */
  readonly #addresses = new Map<string, WaitingAddress>();
  #isChecking = false;

  constructor(
    readonly clock: Clock,
    private readonly suspicions: SuspicionLog,
  ) {}

  enqueue(waiter: UnitWaiter): void {
    const nowMs = this.clock.nowMs();
    this.recordWait(waiter.address);
    if (nowMs - waiter.renewedAtMs > FLOOD_GAP_MS) waiter.floodingSinceMs = nowMs;
    else if (this.#disconnectFlooding(waiter, nowMs)) return;
    this.#waiting.add(waiter);
    this.#checkLater();
  }

  remove(waiter: UnitWaiter): void {
    this.#waiting.delete(waiter);
  }

  /**
   * To be called when a message or request of an address has to wait. An address that goes on is reported, even if none of
   * its connections lasts long enough to be disconnected for flooding.
   */
  recordWait(address: string): void {
    const nowMs = this.clock.nowMs();
    const entry = this.#addresses.get(address);
    if (entry === undefined || nowMs - entry.atMs > FLOOD_GAP_MS) {
      this.#addresses.delete(address);
      for (const first of this.#addresses.keys()) {
        if (this.#addresses.size < ADDRESSES_MAX) break;
        this.#addresses.delete(first);
      }
      this.#addresses.set(address, { sinceMs: nowMs, atMs: nowMs, isReported: false });
      return;
    }
    entry.atMs = nowMs;
    if (entry.isReported || nowMs - entry.sinceMs < FLOOD_MS) return;
    entry.isReported = true;
    this.suspicions.add('flood', address);
  }

  reportSuspicion(kind: SuspicionKind, address: string): void {
    this.suspicions.add(kind, address);
  }

  #disconnectFlooding(waiter: UnitWaiter, nowMs: number): boolean {
    if (nowMs - waiter.floodingSinceMs < FLOOD_MS) return false;
    this.#waiting.delete(waiter);
    this.suspicions.add('flood', waiter.address);
    waiter.disconnectFlooding();
    return true;
  }

  #checkLater(): void {
    if (this.#isChecking) return;
    this.#isChecking = true;
    this.clock.after(RENEW_MS, this.#check);
  }

  readonly #check = (): void => {
    this.#isChecking = false;
    const nowMs = this.clock.nowMs();
    for (const waiter of this.#waiting) {
      if (waiter.renew(nowMs)) {
        this.#waiting.delete(waiter);
        waiter.renewedAtMs = nowMs;
        waiter.proceed();
      } else this.#disconnectFlooding(waiter, nowMs);
    }
    if (this.#waiting.size > 0) this.#checkLater();
  };
}
