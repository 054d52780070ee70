import type { Clock, Timer } from '../common/clock.js';
import type { ActorKeys, Key64 } from '../counters/ids.js';
import { ProtocolError } from '../protocol/errors.js';
import type { KeySet } from './key-set.js';
import { INT64_RULE, toActorKey } from './key64.js';
import type { TokenVerifier } from './token-verifier.js';

/** Node's timers go no further: 24 days. A token that lives longer is not watched. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** The actor at the other end of a connection or a request. */
export interface Identity {
  /** The actor's name; `null` when none was given. */
  readonly actor: string | null;
  /** The key under which the actor's toggles are kept; `null` when there is no actor. */
  readonly key: Key64 | null;
  /** Whether operations are taken from here: not without a token, where tokens are asked for. */
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

/** Tells who a client is: by its token where tokens are verified, else by what it says. */
export class Authenticator {
  constructor(
    /** `null`: there are no tokens. */
    private readonly tokenVerifier: TokenVerifier | null,
    /** Whether a token is needed even to watch. */
    private readonly requireTokenToRead: boolean,
    private readonly actorKeys: ActorKeys,
  ) {}

  /** The keys that verify tokens, if they are fetched from a URL; else `null`. */
  get keySet(): KeySet | null {
    return this.tokenVerifier?.keys ?? null;
  }

  /** @throws ProtocolError for a bad token, none where one is needed to watch, or an actor that `ACTOR_KEYS` does not take. */
  async identify({ token, actor, actorField }: Credentials): Promise<Identity> {
    if (this.tokenVerifier === null) {
      if (actor === undefined) return { actor: null, key: null, mayAct: true, expiresAtMs: null };
      const key = toActorKey(actor, this.actorKeys);
      if (key === null) throw new ProtocolError('BAD_REQUEST', `${actorField} ${INT64_RULE}`);
      return { actor, key, mayAct: true, expiresAtMs: null };
    }
    if (token === undefined) {
      if (this.requireTokenToRead) throw new ProtocolError('UNAUTHORIZED', 'a token is needed here');
      return { actor: null, key: null, mayAct: false, expiresAtMs: null };
    }
    const { subject, expiresAtMs } = await this.tokenVerifier.verify(token);
    const key = toActorKey(subject, this.actorKeys);
    if (key === null) throw new ProtocolError('UNAUTHORIZED', `the token's "sub" ${INT64_RULE}`);
    return { actor: subject, key, mayAct: true, expiresAtMs };
  }
}

/** Calls back when a token expires; `null` when there is nothing to wait for. */
export function callAtExpiry(expiresAtMs: number | null, clock: Clock, call: () => void): Timer | null {
  const lifeMs = (expiresAtMs ?? Infinity) - clock.wallMs();
  return lifeMs <= TIMER_MAX_MS ? clock.after(lifeMs, call) : null;
}

/** Said as a connection ends with its token. */
export const TOKEN_EXPIRED = 'the token has expired';
/** Said to a client that may watch but not act. */
export const TOKEN_REQUIRED = 'a token is needed to act; without one it is only possible to watch';
