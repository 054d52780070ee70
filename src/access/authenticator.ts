import type { Clock, Timer } from '../common/clock.js';
import type { ActorKeys, Key64 } from '../counters/ids.js';
import { ProtocolError } from '../protocol/errors.js';
import type { KeySet } from './key-set.js';
import { INT64_RULE, toActorKey } from './name-hashing.js';
import type { TokenVerifier } from './token-verifier.js';

/** The longest timer of Node: 24 days. The expiry of later tokens is not watched. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** The actor at the other end of a connection or a request. */
export interface Identity {
  /** The actor's name; `null` when none was given. */
  readonly actor: string | null;
  /** The key under which the actor's toggles are kept; `null` when there is no actor. */
  readonly key: Key64 | null;
  /** Whether the client may write: not without a token, where the gateway verifies tokens. */
  readonly mayAct: boolean;
  /** When the token expires, ms since 1970; `null`: never. */
  readonly expiresAtMs: number | null;
}

/** The claims of a client about itself, not yet verified. */
export interface Credentials {
  readonly token: string | undefined;
  /** Well-formed Unicode of 1 to `ACTOR_MAX` characters. */
  readonly actor: string | undefined;
  /** The field that `actor` came in, for errors. */
  readonly actorField: 'actor' | 'Actor-Id';
}

/** Identifies clients: by their token where the gateway verifies tokens, else by the name that they give. */
export class Authenticator {
  constructor(
    /** `null`: the gateway verifies no tokens. */
    private readonly tokenVerifier: TokenVerifier | null,
    /** Whether reading and watching require a token, too. */
    private readonly requireTokenToRead: boolean,
    private readonly actorKeys: ActorKeys,
  ) {}

  /** The keys that verify tokens, if they are fetched from a URL; else `null`. */
  get keySet(): KeySet | null {
    return this.tokenVerifier?.keys ?? null;
  }

  /** @throws ProtocolError for an invalid token, a missing token where reading requires one, or an actor that `ACTOR_KEYS` rejects */
  async identify({ token, actor, actorField }: Credentials): Promise<Identity> {
    if (this.tokenVerifier === null) {
      if (actor === undefined) return { actor: null, key: null, mayAct: true, expiresAtMs: null };
      const key = toActorKey(actor, this.actorKeys);
      if (key === null) throw new ProtocolError('BAD_REQUEST', `${actorField} ${INT64_RULE}`);
      return { actor, key, mayAct: true, expiresAtMs: null };
    }
    if (token === undefined) {
      if (this.requireTokenToRead) throw new ProtocolError('UNAUTHORIZED', 'a token is required; send one');
      return { actor: null, key: null, mayAct: false, expiresAtMs: null };
    }
    const { subject, expiresAtMs } = await this.tokenVerifier.verify(token);
    const key = toActorKey(subject, this.actorKeys);
    if (key === null) throw new ProtocolError('UNAUTHORIZED', `the token's "sub" ${INT64_RULE}`);
    return { actor: subject, key, mayAct: true, expiresAtMs };
  }
}

/** Calls back when a token expires. @returns `null` if it does not expire within the longest timer */
export function callAtExpiry(expiresAtMs: number | null, clock: Clock, call: () => void): Timer | null {
  const msUntilExpiry = (expiresAtMs ?? Infinity) - clock.wallMs();
  return msUntilExpiry <= TIMER_MAX_MS ? clock.after(msUntilExpiry, call) : null;
}

/** The reason for disconnecting a client whose token expires. */
export const TOKEN_EXPIRED = 'the token has expired';
/** The error for a write of a client that may only watch. */
export const TOKEN_REQUIRED = 'a token is required for writes; this connection can only watch';
