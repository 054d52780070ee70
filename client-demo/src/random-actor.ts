/** @returns a decimal integer below 2^53, which gateways accept with every value of `ACTOR_KEYS` */
export function randomActor(): string {
  return String(Math.floor(Math.random() * Number.MAX_SAFE_INTEGER));
}

/** @returns the number of this window, the same after a reload; with one more digit it is an actor */
export function windowNumber(): string {
  if (!/^\d{1,16}$/.test(window.name)) window.name = randomActor();
  return window.name;
}
