import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose';
import type { Clock } from '../common/clock.js';

/** Keys are fetched again when they are needed and older than this: so soon a key that was withdrawn is no longer accepted. */
const FRESH_MS = 600_000;
/** While they cannot be fetched, keys are used up to this age. Longer, and withdrawing a key would mean nothing. */
const STALE_MAX_MS = 24 * 3_600_000;
/** Least time between two fetches for tokens that name an unknown key, which anybody can make. */
const UNKNOWN_KEY_PAUSE_MS = 30_000;
/** Between two attempts while the keys cannot be fetched. */
const RETRY_MS = 5_000;
/** From the request to the last byte of the answer. */
const FETCH_MAX_MS = 5_000;
/** A key takes up to 2 KB, and providers have a handful. */
const ANSWER_BYTES_MAX = 2 ** 20;

/** The key set cannot be fetched, so that nothing can be said of a token. */
export class KeySetUnavailable extends Error {}

/**
 * The keys that verify tokens, from an http or https URL; fetched when they are needed, one fetch at a time. While the provider is
 * away, known keys verify tokens for a day, and it is asked every 5 s.
 */
export class KeySet {
  readonly #remote: ReturnType<typeof createRemoteJWKSet>;
  #fetchedAtMs = -Infinity;
  #fetching: Promise<void> | null = null;
  #failed = false;

  constructor(
    private readonly url: URL,
    private readonly clock: Clock,
    /** Called with one line when the keys can no longer be fetched, and when they can again. */
    private readonly warn: (message: string) => void,
  ) {
    this.#remote = createRemoteJWKSet(url, {
      // When to fetch is decided here.
      cacheMaxAge: Infinity,
      cooldownDuration: Infinity,
      timeoutDuration: FETCH_MAX_MS,
      [customFetch]: fetchBounded,
    });
  }

  /** Whether the last fetch went well; before the first one, too. */
  get isUp(): boolean {
    return !this.#failed;
  }

  /** The age of the keys that are in use, seconds; 0: there are none yet. */
  get ageSeconds(): number {
    return this.#hasKeys ? this.#ageMs / 1_000 : 0;
  }

  /** For jose. Rejects with KeysUnavailable, or JWKSNoMatchingKey if the token's key is none of the set. */
  readonly keyFor: JWTVerifyGetKey = async (header, token) => {
    if (!this.#hasKeys || this.#ageMs > STALE_MAX_MS) await this.#fetchUnlessAway();
    // A failed fetch is reported, and the known keys are used.
    else if (this.#ageMs > FRESH_MS && !this.#failed) await this.#fetch().catch(() => undefined);
    try {
      return await this.#remote(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      if (!this.#failed && this.#ageMs < UNKNOWN_KEY_PAUSE_MS) throw error;
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

  /** While the provider is away the retries ask it: a request that waited for one would wait in vain. */
  async #fetchUnlessAway(): Promise<void> {
    if (this.#failed) throw new KeySetUnavailable();
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
      if (!this.#failed) this.warn(this.#describeFailure(error));
      this.#failed = true;
      throw new KeySetUnavailable(undefined, { cause: error });
    }
    this.#fetchedAtMs = this.clock.nowMs();
    if (this.#failed) this.warn(`${this.#name}: the keys can be fetched again`);
    this.#failed = false;
  }

  #describeFailure(error: unknown): string {
    const until = new Date(this.clock.wallMs() + STALE_MAX_MS - this.#ageMs);
    const effect = this.#hasKeys
      ? `known keys verify tokens until ${until.toISOString()}`
      : 'no token can be verified until they can';
    return `${this.#name}: the keys cannot be fetched (${describeCause(error)}); ${effect}`;
  }

  /** Without what may be secret in it. */
  get #name(): string {
    return `JWT_JWKS_URL ${this.url.origin}${this.url.pathname}`;
  }
}

/** `fetch` for jose: what is too large is not read to its end, and no answer but 200 is read at all. */
async function fetchBounded(url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, options);
  if (response.status !== 200) {
    await response.body?.cancel();
    const location = response.headers.get('Location');
    throw new Error(`it answers ${response.status}${location === null ? '' : `, and redirects to ${location}`}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`its answer is larger than ${ANSWER_BYTES_MAX} bytes`);
  }
  return new Response(Buffer.concat(chunks), response);
}

function describeCause(error: unknown): string {
  if (error instanceof errors.JWKSTimeout) return `no whole answer within ${FETCH_MAX_MS} ms`;
  const { message, cause } = error as Error & { cause?: Error };
  // fetch says what failed in the cause only.
  return cause?.message || message;
}
