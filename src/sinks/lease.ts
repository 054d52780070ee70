import type { Clock, Timer } from '../common/clock.js';
import type { ChangeStore } from '../store/change-store.js';

/** Half of the time after which a lease that is not renewed ends. */
const RENEWAL_MS = 1_000;

/** Renews the lease of a duty. Of the gateways that share a store one holds it; for a moment two may believe that they do. */
export class Lease {
  #isHeld = false;
  #isClosed = false;
  #timer: Timer | null = null;

  constructor(
    private readonly store: Pick<ChangeStore, 'acquireLease'>,
    private readonly duty: string,
    private readonly clock: Clock,
  ) {}

  get isHeld(): boolean {
    return this.#isHeld;
  }

  start(): void {
    void this.#renew();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  async #renew(): Promise<void> {
    try {
      this.#isHeld = await this.store.acquireLease(this.duty);
    } catch {
      // The store is down. Another gateway may get the lease when it is back.
      this.#isHeld = false;
    }
    if (!this.#isClosed) this.#timer = this.clock.after(RENEWAL_MS, () => void this.#renew());
  }
}
