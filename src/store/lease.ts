import type { Clock, Timer } from '../common/clock.js';
import type { ChangeStore } from './change-store.js';

/** A lease that is not renewed ends after this, as the store counts it. */
const LEASE_MS = 2_000;
/** Twice in LEASE_MS, so that one renewal may fail. */
const RENEWAL_MS = 1_000;

/** Renews the lease of a duty. Of the gateways that share a store one holds it; for a moment two may believe that they do. */
export class Lease {
  /** Counted from when the renewal was sent: the store counts from when it arrived. */
  #heldUntilMs = -Infinity;
  #term = 0;
  #isHeldElsewhere = false;
  #isClosed = false;
  #timer: Timer | null = null;

  constructor(
    private readonly store: Pick<ChangeStore, 'acquireLease'>,
    private readonly duty: string,
    private readonly clock: Clock,
  ) {}

  /** Changes whenever the lease was lost and got again, because another gateway may have held it; `null` while it is not held. */
  get term(): number | null {
    return this.clock.nowMs() < this.#heldUntilMs ? this.#term : null;
  }

  /** Whether another gateway had it at the last answer. While the store is down, a lease that has ended is nobody's. */
  get isHeldElsewhere(): boolean {
    return this.#isHeldElsewhere;
  }

  start(): void {
    void this.#renew();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  async #renew(): Promise<void> {
    const sentAtMs = this.clock.nowMs();
    try {
      this.#update(await this.store.acquireLease(this.duty), sentAtMs);
    } catch {
      // The store is down. The lease ends in time, if the store does not come back before.
    }
    if (this.#isClosed) return;
    const waitMs = Math.max(sentAtMs + RENEWAL_MS - this.clock.nowMs(), 0);
    this.#timer = this.clock.after(waitMs, () => void this.#renew());
  }

  #update(isHeld: boolean, sentAtMs: number): void {
    if (isHeld && this.term === null) this.#term += 1;
    this.#isHeldElsewhere = !isHeld;
    this.#heldUntilMs = isHeld ? sentAtMs + LEASE_MS : -Infinity;
  }
}
