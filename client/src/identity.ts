const STORED_AS = 'tallycast.actor';

/** 128 random bits. Not `crypto.randomUUID`, which browsers hide from pages that came over plain HTTP. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The actor of this browser, the same after a reload; where nothing can be stored, a new one for each client. */
export function storedActor(): string {
  try {
    const stored = localStorage.getItem(STORED_AS);
    if (stored !== null) return stored;
    const made = randomId();
    localStorage.setItem(STORED_AS, made);
    return made;
  } catch {
    // Node has no localStorage, and a browser that blocks site data throws at the touch of it.
    return randomId();
  }
}
