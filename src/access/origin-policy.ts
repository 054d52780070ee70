import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** Rejected names in the log; a page can use any number of them. */
const REPORTED_NAMES_MAX = 10;

export interface OriginRules {
  /** ALLOWED_ORIGINS: exact origins of other pages, or `*`. */
  readonly allowed: readonly string[];
  /** PUBLIC_URL: the origins under which browsers reach this gateway; empty: it has no name. */
  readonly own: readonly string[];
  /** Called once for each name of a page that PUBLIC_URL does not list. */
  readonly warn: (message: string) => void;
}

/**
 * Decides which pages may use the gateway. CORS protects neither WebSockets nor `<img>`, so the policy checks the `Origin` of each
 * request or, where browsers send none, `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/). Clients other than browsers
 * send neither.
 *
 * A name proves nothing: its owner can point it at this gateway, and a page under it then has the "same origin" (DNS
 * rebinding). Addresses and `localhost` cannot be pointed elsewhere.
 */
export class OriginPolicy {
  readonly #allowsAny: boolean;
  readonly #allowed: ReadonlySet<string>;
  readonly #own: ReadonlySet<string>;
  /** The hosts of both lists. */
  readonly #hosts: ReadonlySet<string | null>;
  readonly #reported = new Set<string>();

  constructor(private readonly rules: OriginRules) {
    const { allowed, own } = rules;
    this.#allowsAny = allowed.includes('*');
    this.#allowed = new Set(allowed);
    this.#own = new Set(own);
    this.#hosts = new Set(
      [...allowed, ...own].filter((origin) => origin !== '*').map((origin) => new URL(origin).host),
    );
  }

  /** For the CORS headers of other origins. */
  isListed(origin: string): boolean {
    return this.#allowsAny || this.#allowed.has(origin);
  }

  /** @returns the error for the client; `null` if the request is allowed */
  findRejection(request: IncomingMessage): string | null {
    const { origin, host } = request.headers;
    if (this.#allowsAny) return null;
    return origin === undefined ? this.#checkSite(request) : this.#checkOrigin(origin, host);
  }

  /**
   * For a picture that pages of other sites show: for `<img>` browsers send the page's address as `Referer` instead of an
   * `Origin`. Mail programs, and pages whose policy forbids it, send neither, and are allowed.
   * @returns the error for the client; `null` if the request is allowed
   */
  findPictureRejection({ headers }: IncomingMessage): string | null {
    const { origin, referer, host } = headers;
    const page = origin ?? (referer === undefined ? undefined : originOf(referer));
    return this.#allowsAny || page === undefined ? null : this.#checkOrigin(page, host);
  }

  #checkOrigin(origin: string, host: string | undefined): string | null {
    if (this.#allowed.has(origin) || this.#own.has(origin)) return null;
    const page = URL.canParse(origin) ? new URL(origin) : null;
    if (page === null || page.host !== hostOf(host)) return ORIGIN_REJECTED;
    return this.#own.size === 0 && isAddress(page.hostname) ? null : this.#rejectName(page.origin);
  }

  #checkSite(request: IncomingMessage): string | null {
    const { 'sec-fetch-site': site, host } = request.headers;
    // `none`: a user typed the address.
    if (site === undefined || site === 'none' || isVisit(request)) return null;
    if (site !== 'same-origin') return PAGE_REJECTED;
    const own = hostOf(host);
    if (own === null) return ORIGIN_REJECTED;
    if (this.#hosts.has(own)) return null;
    const url = new URL(`https://${own}`);
    return this.#own.size === 0 && isAddress(url.hostname) ? null : this.#rejectName(url.origin);
  }

  #rejectName(origin: string): string {
    if (!this.#reported.has(origin) && this.#reported.size < REPORTED_NAMES_MAX) {
      this.#reported.add(origin);
      const all = [...this.#own, origin].join(',');
      this.rules.warn(
        `rejected a page of ${origin}: PUBLIC_URL does not list it; if it is yours set PUBLIC_URL=${all}`,
      );
    }
    return NAME_REJECTED;
  }
}

/** Whether a user followed a link: only the user sees the response, no page. */
function isVisit({ method, headers }: IncomingMessage): boolean {
  const isRead = method === 'GET' || method === 'HEAD';
  return isRead && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
}

/** `null`, as browsers write it, for a page without an origin. */
function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : 'null';
}

/** The host as URLs write it: in lower case, and without the default port, which some balancers add. */
function hostOf(header: string | undefined): string | null {
  if (header === undefined || !URL.canParse(`http://${header}`)) return null;
  return new URL(`http://${header}`).host.replace(/:(80|443)$/, '');
}

/** `hostname` as in URLs: an IPv6 address is in brackets. */
function isAddress(hostname: string): boolean {
  return hostname === 'localhost' || isIP(hostname.replace(/^\[(.*)\]$/, '$1')) !== 0;
}

const ORIGIN_REJECTED = 'pages of this origin may not use this gateway; ALLOWED_ORIGINS lists those that may';
const PAGE_REJECTED =
  'pages of other sites may not use this gateway without CORS: ask by fetch, EventSource or a WebSocket, from an origin that ALLOWED_ORIGINS lists';
const NAME_REJECTED = 'this gateway is not known by this name; PUBLIC_URL lists the origins that are its own';
