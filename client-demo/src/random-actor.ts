/** A name that gateways take whatever kind of names they are set up for: a decimal integer, here below 2^53. */
export function randomActor(): string {
  return String(Math.floor(Math.random() * Number.MAX_SAFE_INTEGER));
}

/** The number of this window, the same after a reload. With one more digit it names an actor. */
export function windowNumber(): string {
  if (!/^\d{1,16}$/.test(window.name)) window.name = randomActor();
  return window.name;
}
