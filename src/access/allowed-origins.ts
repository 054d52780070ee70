import { ANY_ORIGIN, SUBDOMAINS } from '../config/origin-list.js';

/** Compares the origins of pages with ALLOWED_ORIGINS. */
export class AllowedOrigins {
  readonly allowsAny: boolean;
  readonly #exact: ReadonlySet<string>;
  readonly #exactHosts: ReadonlySet<string>;
  readonly #patterns: readonly SubdomainPattern[];

  /** @param entries as `parseOriginList` returns them */
  constructor(readonly entries: readonly string[]) {
    const patterns = entries.filter((entry) => entry.includes(SUBDOMAINS));
    const exact = entries.filter((entry) => !entry.includes(SUBDOMAINS));
    this.allowsAny = entries.includes(ANY_ORIGIN);
    this.#exact = new Set(exact);
    this.#exactHosts = new Set(exact.filter((entry) => /^https?:/.test(entry)).map((entry) => new URL(entry).host));
    this.#patterns = patterns.map((entry) => new SubdomainPattern(entry));
  }

  /** @param origin as browsers send it */
  allows(origin: string): boolean {
    return this.allowsAny || this.#exact.has(origin) || this.#patterns.some((pattern) => pattern.matches(origin));
  }

  /** Whether an allowed web page may have this host, with its port. */
  allowsHost(host: string): boolean {
    return this.#exactHosts.has(host) || this.#patterns.some((pattern) => pattern.matchesHost(host));
  }
}

/** An entry such as `https://*.example.org:8443`. */
class SubdomainPattern {
  readonly #scheme: string;
  readonly #domain: string;

  constructor(entry: string) {
    const star = entry.indexOf('*');
    this.#scheme = entry.slice(0, star);
    this.#domain = entry.slice(star + 1);
  }

  matches(origin: string): boolean {
    return origin.startsWith(this.#scheme) && this.matchesHost(origin.slice(this.#scheme.length));
  }

  matchesHost(host: string): boolean {
    return host.endsWith(this.#domain) && /^[\w-]+(?:\.[\w-]+)*$/.test(host.slice(0, -this.#domain.length));
  }
}
