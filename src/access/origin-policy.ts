import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { findOriginProblem } from '../config/origin-list.js';
import { AllowedOrigins } from './allowed-origins.js';
import type { ThrottledLog } from './throttled-log.js';

/** Rejected names in the log; a page can use any number of them. */
const REPORTED_NAMES_MAX = 10;
/** Characters of an origin in the log; those of extensions have some 50. */
const ORIGIN_MAX = 300;

export interface OriginRules {
  /** ALLOWED_ORIGINS: the origins of other pages. */
  readonly allowed: readonly string[];
  /** PUBLIC_URL: the origins under which browsers reach this gateway; empty: it has no name. */
  readonly own: readonly string[];
  /** Called once for each name of a page that PUBLIC_URL does not list. */
  readonly warn: (message: string) => void;
  /** For origins that ALLOWED_ORIGINS does not list. */
  readonly log: ThrottledLog;
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
  readonly #allowed: AllowedOrigins;
  readonly #own: ReadonlySet<string>;
  readonly #ownHosts: ReadonlySet<string>;
  readonly #reported = new Set<string>();
  /** Requests that were counted. The handshake of a socket is checked twice. */
  readonly #counted = new WeakSet<IncomingMessage>();
  #rejections = 0;

  constructor(private readonly rules: OriginRules) {
    const { allowed, own } = rules;
    this.#allowed = new AllowedOrigins(allowed);
    this.#own = new Set(own);
    this.#ownHosts = new Set(own.map((origin) => new URL(origin).host));
  }

  /** Requests that were rejected, since boot. */
  get rejections(): number {
    return this.#rejections;
  }

  /** For the CORS headers of other origins. */
  isListed(origin: string): boolean {
    return this.#allowed.allows(origin);
  }

  /** @returns the error for the client; `null` if the request is allowed */
  findRejection(request: IncomingMessage): string | null {
    const { origin, host } = request.headers;
    if (this.#allowed.allowsAny) return null;
    return this.#count(request, origin === undefined ? this.#checkSite(request) : this.#checkOrigin(origin, host));
  }

  /**
   * For a picture that pages of other sites show: for `<img>` browsers send the page's address as `Referer` instead of an
   * `Origin`. Mail programs, and pages whose policy forbids it, send neither, and are allowed.
   * @returns the error for the client; `null` if the request is allowed
   */
  findPictureRejection(request: IncomingMessage): string | null {
    const { origin, referer, host } = request.headers;
    const page = origin ?? (referer === undefined ? undefined : originOf(referer));
    if (this.#allowed.allowsAny || page === undefined) return null;
    return this.#count(request, this.#checkOrigin(page, host));
  }

  #count(request: IncomingMessage, rejection: string | null): string | null {
    if (rejection === null || this.#counted.has(request)) return rejection;
    this.#counted.add(request);
    this.#rejections += 1;
    return rejection;
  }

  #checkOrigin(origin: string, host: string | undefined): string | null {
    if (this.#allowed.allows(origin) || this.#own.has(origin)) return null;
    const page = /^https?:/.test(origin) && URL.canParse(origin) ? new URL(origin) : null;
    if (page === null || page.host !== hostOf(host)) return this.#rejectOrigin(origin);
    return this.#own.size === 0 && isAddress(page.hostname) ? null : this.#rejectName(page.origin);
  }

  #checkSite(request: IncomingMessage): string | null {
    const { 'sec-fetch-site': site, host } = request.headers;
    // `none`: a user typed the address.
    if (site === undefined || site === 'none' || isVisit(request)) return null;
    if (site !== 'same-origin') return PAGE_REJECTED;
    const own = hostOf(host);
    if (own === null) return ORIGIN_REJECTED;
    if (this.#ownHosts.has(own) || this.#allowed.allowsHost(own)) return null;
    const url = new URL(`https://${own}`);
    return this.#own.size === 0 && isAddress(url.hostname) ? null : this.#rejectName(url.origin);
  }

  #rejectOrigin(origin: string): string {
    // Clients other than browsers may send any text.
    if (origin.length <= ORIGIN_MAX && !/[*,]/.test(origin) && findOriginProblem(origin) === null) {
      const all = [...this.#allowed.entries, origin].join(',');
      const pages = origin === 'null' ? 'without an origin (files, frames in a sandbox, some apps)' : `of ${origin}`;
      this.rules.log.warn(origin, `rejected a page ${pages}: if it is yours, add it: ALLOWED_ORIGINS=${all}`);
      return `pages of ${origin} may not use this gateway; if they are yours, add ${origin} to its ALLOWED_ORIGINS`;
    }
    return ORIGIN_REJECTED;
  }

  #rejectName(origin: string): string {
    if (!this.#reported.has(origin) && this.#reported.size < REPORTED_NAMES_MAX) {
      this.#reported.add(origin);
      const all = [...this.#own, origin].join(',');
      this.rules.warn(
        `rejected a page of ${origin}: PUBLIC_URL does not list it; if it is yours set PUBLIC_URL=${all}`,
      );
    }
    return `this gateway is not known as ${origin}; if that is its name, add ${origin} to its PUBLIC_URL`;
  }
}

/** Whether a user followed a link: only the user sees the response, no page. */
function isVisit({ method, headers }: IncomingMessage): boolean {
  const isRead = method === 'GET' || method === 'HEAD';
  return isRead && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
}

/** The origin of a page as browsers send it. */
function originOf(url: string): string {
  const { protocol = '', host = '' } = URL.canParse(url) ? new URL(url) : {};
  // The property `origin` of URLs is `null` for apps.
  return host === '' ? 'null' : `${protocol}//${host}`;
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
