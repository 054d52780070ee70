import type { Environment } from './environment.js';

const STORED_AS = 'tallycast.actor';

/** 128 random bits. `crypto.randomUUID` is missing on pages that were loaded over plain HTTP. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** 64 random bits as a decimal int64, which gateways accept with every value of `ACTOR_KEYS`. */
function randomActor(): string {
  return String(crypto.getRandomValues(new BigInt64Array(1))[0]);
}

/** The actor of this browser, the same after a reload. If nothing can be stored, each client gets a new one. */
export function storedActor(storage: Environment['storage']): string {
  try {
    const stored = storage?.getItem(STORED_AS);
    if (stored) return stored;
    const made = randomActor();
    storage?.setItem(STORED_AS, made);
    return made;
  } catch {
    // The storage is full or blocked.
    return randomActor();
  }
}
