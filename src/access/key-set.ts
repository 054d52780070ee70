import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose';
import type { Clock } from '../common/clock.js';
import { TokenBucket } from './rate-limit.js';

/** Keys are fetched again when they are needed and older than this: a withdrawn key is rejected this soon. */
const FRESH_MS = 600_000;
/** The age up to which cached keys are used while the provider is down. A longer one would make withdrawing a key useless. */
const STALE_MAX_MS = 24 * 3_600_000;
/**
 * Fetches for tokens with an unknown key: five at once, so that a new key is found at its first token, and two a minute, because
 * anyone can make such tokens.
 */
const UNKNOWN_KEY_FETCHES = 5;
const UNKNOWN_KEY_FETCHES_PER_S = 1 / 30;
/** Pause between two attempts while the provider is down. */
const RETRY_MS = 5_000;
/** Time from the request to the last byte of the response. */
const FETCH_MAX_MS = 5_000;
/** A key takes up to 2 KB, and providers have a handful. */
const RESPONSE_BYTES_MAX = 2 ** 20;

/** The key set cannot be fetched, so no token can be verified. */
export class KeySetUnavailable extends Error {}

/**
 * The keys that verify tokens, from an http or https URL. They are fetched when needed, one fetch at a time. While the provider
 * is down, cached keys verify tokens for a day, and a fetch is tried every 5 s.
 */
export class KeySet {
  readonly #remote: ReturnType<typeof createRemoteJWKSet>;
  #fetchedAtMs = -Infinity;
  /** Successful ones. */
  #fetches = 0;
  #fetching: Promise<void> | null = null;
  #hasFailed = false;
  readonly #unknownKeyFetches: TokenBucket;

  constructor(
    private readonly url: URL,
    private readonly clock: Clock,
    /** Called with one line when a fetch fails, and when one succeeds again. */
    private readonly warn: (message: string) => void,
  ) {
    this.#unknownKeyFetches = new TokenBucket(UNKNOWN_KEY_FETCHES_PER_S, clock.nowMs(), UNKNOWN_KEY_FETCHES);
    this.#remote = createRemoteJWKSet(url, {
      // keyFor decides when to fetch.
      cacheMaxAge: Infinity,
      cooldownDuration: Infinity,
      timeoutDuration: FETCH_MAX_MS,
      [customFetch]: fetchBounded,
    });
  }

  /** Whether the last fetch succeeded; true before the first one. */
  get isUp(): boolean {
    return !this.#hasFailed;
  }

  /** The age of the cached keys in seconds; 0 without keys. */
  get ageSeconds(): number {
    return this.#hasKeys ? this.#ageMs / 1_000 : 0;
  }

  /** For jose. Rejects with KeysUnavailable, or JWKSNoMatchingKey if the token's key is none of the set. */
  readonly keyFor: JWTVerifyGetKey = async (header, token) => {
    const fetchesBefore = this.#fetches;
    if (!this.#hasKeys || this.#ageMs > STALE_MAX_MS) await this.#fetchUnlessAway();
    // After a failed fetch, which is logged, the cached keys are used.
    else if (this.#ageMs > FRESH_MS && !this.#hasFailed) await this.#fetch().catch(() => undefined);
    try {
      return await this.#remote(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      const isJustFetched = this.#fetches > fetchesBefore;
      if (!this.#hasFailed && (isJustFetched || !this.#mayFetchForUnknownKey())) throw error;
      await this.#fetchUnlessAway();
      return await this.#remote(header, token);
    }
  };

  get #hasKeys(): boolean {
    return this.#remote.jwks() !== undefined;
  }

  get #ageMs(): number {
    return this.clock.nowMs() - this.#fetchedAtMs;
  }

  #mayFetchForUnknownKey(): boolean {
    return this.#fetching !== null || this.#unknownKeyFetches.take(this.clock.nowMs()) === 0;
  }

  /** While the provider is down only the retries fetch: a request that waited for one would probably fail, too. */
  async #fetchUnlessAway(): Promise<void> {
    if (this.#hasFailed) throw new KeySetUnavailable();
    await this.#fetch();
  }

  #fetch(): Promise<void> {
    this.#fetching ??= this.#fetchOnce().finally(() => (this.#fetching = null));
    return this.#fetching;
  }

  async #fetchOnce(): Promise<void> {
    try {
      await this.#remote.reload();
    } catch (error) {
      this.clock.after(RETRY_MS, () => void this.#fetch().catch(() => undefined));
      if (!this.#hasFailed) this.warn(this.#describeFailure(error));
      this.#hasFailed = true;
      throw new KeySetUnavailable(undefined, { cause: error });
    }
    this.#fetchedAtMs = this.clock.nowMs();
    this.#fetches += 1;
    if (this.#hasFailed) this.warn(`${this.#name}: the keys were fetched again`);
    this.#hasFailed = false;
  }

  #describeFailure(error: unknown): string {
    const until = new Date(this.clock.wallMs() + STALE_MAX_MS - this.#ageMs);
    const effect = this.#hasKeys
      ? `cached keys verify tokens until ${until.toISOString()}`
      : 'no token can be verified until a fetch succeeds';
    return `${this.#name}: the keys cannot be fetched (${describeCause(error)}); ${effect}`;
  }

  /** Without the query, which may be secret. */
  get #name(): string {
    return `JWT_JWKS_URL ${this.url.origin}${this.url.pathname}`;
  }
}

/** `fetch` for jose. It stops reading too large responses, and reads no response but 200. */
async function fetchBounded(url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, options);
  if (response.status !== 200) {
    await response.body?.cancel();
    // The query may be secret.
    const location = response.headers.get('Location')?.replace(/[?#].*$/s, '');
    throw new Error(
      `it responds with ${response.status}${location === undefined ? '' : `, a redirect to ${location}`}`,
    );
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > RESPONSE_BYTES_MAX) throw new Error(`its response is larger than ${RESPONSE_BYTES_MAX} bytes`);
  }
  return new Response(Buffer.concat(chunks), response);
}

function describeCause(error: unknown): string {
  if (error instanceof errors.JWKSTimeout) return `no complete response within ${FETCH_MAX_MS} ms`;
  const { message, cause } = error as Error & { cause?: Error };
  // Only the cause has fetch's reason.
  return cause?.message || message;
}
