import type { Environment } from './environment.js';

const STORED_AS = 'tallycast.actor';

/**
 * Where there is no `crypto`, as in React Native, the bits of Math.random are enough: ids of sessions and actors without a
 * token have to differ, and protect nothing.
 */
function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const { crypto } = globalThis as { crypto?: Crypto };
  return crypto ? crypto.getRandomValues(bytes) : bytes.map(() => Math.random() * 256);
}

/** 128 random bits. `crypto.randomUUID` is missing on pages that were loaded over plain HTTP. */
export function randomId(): string {
  return Array.from(randomBytes(16), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** 64 random bits as a decimal int64, which gateways accept with every value of `ACTOR_KEYS`. */
function randomActor(): string {
  return String(new BigInt64Array(randomBytes(8).buffer)[0]);
}

/**
 * The actor of this browser. It is stored when it first turns something on or off, and may want to take that back. A visitor who
 * only reads leaves nothing in the browser, and is another actor in each client.
 */
export class BrowserActor {
  #name: string | undefined;
  #acts = false;

  constructor(private readonly storage: Environment['storage']) {}

  /** @param mayChange whether another tab's actor may replace this one, because nothing is on its way */
  read(mayChange: boolean): string {
    if (mayChange || this.#name === undefined) this.#name = this.#readStored() ?? this.#name ?? randomActor();
    this.#store();
    return this.#name;
  }

  /**
   * The actor turns something on or off.
   * @returns whether another tab has stored its actor meanwhile
   */
  act(): boolean {
    this.#acts = true;
    this.#store();
    return this.#name !== undefined && (this.#readStored() ?? this.#name) !== this.#name;
  }

  /** Whether the next visit is that of the same actor. */
  get isStored(): boolean {
    return this.#name !== undefined && this.#readStored() === this.#name;
  }

  #readStored(): string | undefined {
    try {
      return this.storage?.getItem(STORED_AS) ?? undefined;
    } catch {
      // The storage is blocked.
      return undefined;
    }
  }

  #store(): void {
    // Without a name none was needed yet, or a token has it.
    if (!this.#acts || this.#name === undefined || this.#readStored() !== undefined) return;
    try {
      this.storage?.setItem(STORED_AS, this.#name);
    } catch {
      // The storage is full.
    }
  }
}
