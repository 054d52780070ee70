import type { Clock, Timer } from '../common/clock.js';
import { ProtocolError } from '../protocol/errors.js';

const DAY_MS = 86_400_000;
/** A secret is claimed this long before its day begins. So a store that is down at midnight does no harm. */
const AHEAD_MS = 2 * 3_600_000;
const CLAIM_INTERVAL_MS = 60_000;
const SECRET_BYTES = 32;
const RETRY_MS = 1_000;

/** Keeps secrets for all gateways of a store. */
export interface VisitorSecretStore {
  /**
   * Keeps the secret for the day, unless there is one for it.
   * @param day such as 2026-11-30
   * @param forgetAtMs when the store forgets it, ms since 1970
   * @returns the secret that is kept
   */
  claim(day: string, secret: Buffer, forgetAtMs: number): Promise<Buffer>;
}

export interface VisitorSecretsOptions {
  readonly clock: Clock;
  readonly randomBytes: (size: number) => Buffer;
  /** Called with one line for the operator. */
  readonly warn: (message: string) => void;
}

/**
 * The secrets from which the keys of visitors are derived: a random one for each UTC day, the same on all gateways of a store. The store
 * forgets it at the end of the next day, and the gateway with the next secret. Without it nobody can find out whom a key belonged to.
 */
export class VisitorSecrets {
  /** By day since 1970. */
  readonly #secrets = new Map<number, Buffer>();
  #timer: Timer | null = null;
  #isClosed = false;
  #isFailing = false;

  private constructor(
    private readonly store: VisitorSecretStore,
    private readonly options: VisitorSecretsOptions,
  ) {}

  /** @throws Error if the store does not keep the secret of today */
  static async open(store: VisitorSecretStore, options: VisitorSecretsOptions): Promise<VisitorSecrets> {
    const secrets = new VisitorSecrets(store, options);
    await secrets.#claim();
    secrets.#claimLater();
    return secrets;
  }

  /**
   * The secret of today. While the store has been down since two hours before midnight, it is that of the day before.
   * @throws ProtocolError UNAVAILABLE if that is over, too
   */
  get current(): Buffer {
    const today = this.#today();
    const secret = this.#secrets.get(today) ?? this.#secrets.get(today - 1);
    if (secret !== undefined) return secret;
    throw new ProtocolError('UNAVAILABLE', 'the store does not respond; give a name, or retry later', RETRY_MS);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #today(aheadMs = 0): number {
    return Math.floor((this.options.clock.wallMs() + aheadMs) / DAY_MS);
  }

  /** Claims known secrets again, too: a store that has lost one by a failover gets it back, or all gateways take the same new one. */
  async #claim(): Promise<void> {
    const today = this.#today();
    for (const day of new Set([today, this.#today(AHEAD_MS)])) {
      const secret = this.#secrets.get(day) ?? this.options.randomBytes(SECRET_BYTES);
      const name = new Date(day * DAY_MS).toISOString().slice(0, 10);
      this.#secrets.set(day, await this.store.claim(name, secret, (day + 2) * DAY_MS));
    }
    for (const day of this.#secrets.keys()) if (day < today) this.#secrets.delete(day);
  }

  #claimLater(): void {
    if (!this.#isClosed) this.#timer = this.options.clock.after(CLAIM_INTERVAL_MS, () => void this.#claimOrWarn());
  }

  async #claimOrWarn(): Promise<void> {
    try {
      await this.#claim();
      this.#isFailing = false;
    } catch (error) {
      this.#warn(error as Error);
    }
    this.#claimLater();
  }

  /** A store that is down has log lines of its own, so only what follows from it is worth one. */
  #warn({ message }: Error): void {
    if (this.#isFailing || this.#secrets.has(this.#today())) return;
    this.#isFailing = true;
    this.options.warn(
      `the secret of the day is missing, so clients without a name keep the actor of the day before: ${message}`,
    );
  }
}
