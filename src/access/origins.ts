import type { IncomingMessage } from 'node:http';

/**
 * Which pages may use the gateway. CORS does not guard WebSockets, so the `Origin` header is checked here, for every
 * transport. Clients that are not browsers send none.
 */
export class Origins {
  readonly #any: boolean;
  readonly #allowed: ReadonlySet<string>;

  constructor(allowed: readonly string[]) {
    this.#any = allowed.includes('*');
    this.#allowed = new Set(allowed);
  }

  /** For the CORS headers of other origins. */
  lists(origin: string): boolean {
    return this.#any || this.#allowed.has(origin);
  }

  allows({ headers }: IncomingMessage): boolean {
    const { origin, host } = headers;
    if (origin === undefined || this.lists(origin)) return true;
    return URL.canParse(origin) && new URL(origin).host === host;
  }
}

export const ORIGIN_REFUSED = 'pages of this origin may not use this gateway; ALLOWED_ORIGINS lists those that may';
