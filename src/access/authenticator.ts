import type { Clock, Timer } from '../common/clock.js';
import type { ActorKeys, Key64 } from '../counters/ids.js';
import { ProtocolError } from '../protocol/errors.js';
import type { KeySet } from './key-set.js';
import { NO_ADDRESS } from './address-limiter.js';
import { type ActorName, INT64_RULE, toActorKey, toGuestKey, toVisitorKey } from './name-hashing.js';
import type { TokenVerifier } from './token-verifier.js';

/** The longest timer of Node: 24 days. The expiry of later tokens is not watched. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** The actor at the other end of a connection or a request. */
export interface Identity {
  /**
   * The actor's name, which its sessions belong to; `null` when none was given. A session of nobody is found again after midnight and from
   * another address.
   */
  readonly actor: ActorName | null;
  /** The key under which the actor's toggles are kept; `null` when there is no actor. */
  readonly key: Key64 | null;
  /** Whether the client may write everything. Where the gateway verifies tokens it needs one, and GuestPolicy decides about guests. */
  readonly mayAct: boolean;
  /** Whether a token names the actor. */
  readonly isVerified: boolean;
  /** When the token expires, ms since 1970; `null`: never. */
  readonly expiresAtMs: number | null;
}

const UNNAMED: Identity = { actor: null, key: null, mayAct: false, isVerified: false, expiresAtMs: null };

/** The claims of a client about itself, not yet verified. */
export interface Credentials {
  readonly token: string | undefined;
  /** Well-formed Unicode of 1 to `ACTOR_MAX` characters. */
  readonly actor: string | undefined;
  /** The field that `actor` came in, for errors. */
  readonly actorField: 'actor' | 'Actor-Id';
}

/** The properties of a request by which a client without a name is recognised for a day. */
export interface Visitor {
  /** As AddressLimiter writes it. */
  readonly address: string;
  readonly userAgent: string | undefined;
}

export interface AuthenticatorOptions {
  /** Whether reading and watching require a token, too. */
  readonly requireTokenToRead: boolean;
  readonly actorKeys: ActorKeys;
  /** Whether clients without a token may add to some metrics. */
  readonly admitsGuests: boolean;
  /** `null`: a client without a name has no actor. */
  readonly visitorSecrets: { readonly current: Buffer } | null;
}

/** Identifies clients: by their token where the gateway verifies tokens, else by the name that they give. */
export class Authenticator {
  constructor(
    /** `null`: the gateway verifies no tokens. */
    private readonly tokenVerifier: TokenVerifier | null,
    private readonly options: AuthenticatorOptions,
  ) {}

  /** The keys that verify tokens, if they are fetched from a URL; else `null`. */
  get keySet(): KeySet | null {
    return this.tokenVerifier?.keys ?? null;
  }

  /**
   * Identifies a client that gets counts.
   * @param visitor `null` where the actor makes no difference
   * @throws ProtocolError for an invalid token, a missing token where reading requires one, or an actor that `ACTOR_KEYS` rejects
   */
  async identify(credentials: Credentials, visitor: Visitor | null): Promise<Identity> {
    const isTokenMissing = this.tokenVerifier !== null && credentials.token === undefined;
    if (isTokenMissing && this.options.requireTokenToRead) {
      throw new ProtocolError('UNAUTHORIZED', 'a token is required; send one');
    }
    return await this.#identify(credentials, visitor);
  }

  /** Identifies a client that gets no counts: a guest needs no token, even where reading requires one. @throws ProtocolError */
  identifySender(credentials: Credentials, visitor: Visitor): Promise<Identity> {
    return this.options.admitsGuests ? this.#identify(credentials, visitor) : this.identify(credentials, visitor);
  }

  async #identify(credentials: Credentials, visitor: Visitor | null): Promise<Identity> {
    const { token } = credentials;
    if (this.tokenVerifier === null) return this.#identifyByName(credentials, visitor);
    if (token === undefined) return this.#identifyGuest(credentials, visitor);
    const { subject, expiresAtMs } = await this.tokenVerifier.verify(token);
    const key = toActorKey(subject, this.options.actorKeys);
    if (key === null) throw this.tokenVerifier.rejectActor(INT64_RULE);
    return { actor: subject, key, mayAct: true, isVerified: true, expiresAtMs };
  }

  #identifyByName({ actor, actorField }: Credentials, visitor: Visitor | null): Identity {
    if (actor === undefined) return { ...UNNAMED, key: this.#deriveKey(visitor), mayAct: true };
    const key = toActorKey(actor, this.options.actorKeys);
    if (key === null) throw new ProtocolError('BAD_REQUEST', `${actorField} ${INT64_RULE}`);
    return { ...UNNAMED, actor, key, mayAct: true };
  }

  #identifyGuest({ actor }: Credentials, visitor: Visitor | null): Identity {
    if (actor === undefined || !this.options.admitsGuests) return { ...UNNAMED, key: this.#deriveKey(visitor) };
    return { ...UNNAMED, actor: { guest: actor }, key: toGuestKey(actor) };
  }

  #deriveKey(visitor: Visitor | null): Key64 | null {
    const { visitorSecrets } = this.options;
    // Clients of no known address would all be one actor.
    if (visitorSecrets === null || visitor === null || visitor.address === NO_ADDRESS) return null;
    return toVisitorKey(visitorSecrets.current, visitor.address, visitor.userAgent ?? '');
  }
}

/** Calls back when a token expires. @returns `null` if it does not expire within the longest timer */
export function callAtExpiry(expiresAtMs: number | null, clock: Clock, call: () => void): Timer | null {
  const msUntilExpiry = (expiresAtMs ?? Infinity) - clock.wallMs();
  return msUntilExpiry <= TIMER_MAX_MS ? clock.after(msUntilExpiry, call) : null;
}

/** The reason for disconnecting a client whose token expires. */
export const TOKEN_EXPIRED = 'the token has expired';
