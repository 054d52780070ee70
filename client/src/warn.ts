import type { Clock, Timer } from './environment.js';

/** Longer than a short interruption, and than one attempt to connect. */
const UNREACHABLE_MS = 12_000;

const warned = new Set<string>();

/**
 * Warns the author of the page, once a cause and once a text: what visitors do may cause it again and again. Only what was
 * warned of is kept, because texts may name any number of posts.
 */
export function warnOnce(cause: string, text: string): void {
  if (warned.has(cause) || warned.has(text)) return;
  warned.add(cause).add(text);
  console.warn(`tallycast: ${text}`);
}

/** Warns unless the timer is cancelled in time, because the gateway has answered. */
export function expectAnswer(gateway: string, clock: Clock): Timer {
  return clock.after(UNREACHABLE_MS, () => {
    const { origin, protocol } = typeof location === 'undefined' ? { origin: '', protocol: '' } : location;
    const text =
      protocol === 'https:' && gateway.startsWith('http:')
        ? `a page of https: cannot reach ${gateway}: use https:`
        : `no gateway answers at ${gateway}${origin && `, or its ALLOWED_ORIGINS lacks ${origin}`}`;
    warnOnce('unreachable', text);
  });
}

/** Says what only the page shows: that a program drives it, and that its policy forbids connections to the gateway. */
export function watchPage(gateway: string, isAutomated: boolean): void {
  if (isAutomated)
    console.info('tallycast: a program drives this browser, so its views count only with COUNT_BOTS=true');
  if (typeof document === 'undefined') return;
  const { host, origin } = new URL(gateway);
  addEventListener('securitypolicyviolation', ({ blockedURI, disposition, effectiveDirective }) => {
    if (disposition === 'enforce' && effectiveDirective === 'connect-src' && blockedURI.split('/')[2] === host)
      warnOnce('unreachable', `the page's policy needs connect-src ${origin} ${origin.replace('http', 'ws')}`);
  });
}
