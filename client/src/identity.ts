import type { Environment } from './environment.js';

const STORED_AS = 'tallycast.actor';

/** 128 random bits. Not `crypto.randomUUID`, which browsers hide from pages that came over plain HTTP. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** 64 random bits as a decimal int64: gateways take it whatever kind of names they are set up for. */
function randomActor(): string {
  return String(crypto.getRandomValues(new BigInt64Array(1))[0]);
}

/** The actor of this browser, the same after a reload; where nothing can be stored, a new one for each client. */
export function storedActor(storage: Environment['storage']): string {
  try {
    const stored = storage?.getItem(STORED_AS);
    if (stored) return stored;
    const made = randomActor();
    storage?.setItem(STORED_AS, made);
    return made;
  } catch {
    // Full, or blocked since.
    return randomActor();
  }
}
