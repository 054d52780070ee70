import { createHmac } from 'node:crypto';
import { digest64, first64 } from '../common/digest64.js';
import { type ActorKeys, fromInt64, type Key64 } from '../counters/ids.js';

/**
 * Names are hashed as UTF-8, in which every half of a surrogate pair becomes the same U+FFFD: two names that differ in such
 * a half alone would be one actor. Callers check names by `String.prototype.isWellFormed` first.
 */

/** The name of an actor. A guest has given it itself, so it is not the actor of that name. */
export type ActorName = string | { readonly guest: string };

/** The rule for names where `ACTOR_KEYS=int64`. */
export const INT64_RULE =
  'must be a decimal int64 such as 42: from -9223372036854775808 to 9223372036854775807, without leading zeros';

/** Each number has one form, so that two names are never one actor. */
const INT64 = /^(0|-?[1-9]\d{0,18})$/;

/**
 * The key under which an actor's toggles are kept: the first 64 bits of the SHA-256 of its name, or the number that it is.
 * docs/decisions/0022 has the odds of two names with one key. Cost: about 1 µs, once for a connection or an HTTP request.
 * @param name well-formed
 * @returns `null` for a name without a key: not a decimal int64, with `ACTOR_KEYS=int64`
 */
export function toActorKey(name: string, keys: ActorKeys): Key64 | null {
  return keys === 'int64' ? parseInt64(name) : digest64(name);
}

/**
 * The key of a guest, with every `ACTOR_KEYS`. It is another function of the name than an actor's key, so a guest that takes the
 * name of an actor has another key.
 */
export function toGuestKey(name: string): Key64 {
  return first64(createHmac('sha256', 'guest').update(name).digest());
}

/**
 * The key of a client without a name on one day. Only a gateway that has the secret of that day can compute it, so no client can choose a
 * name with this key. The idea is that of analytics without cookies: https://plausible.io/data-policy#how-we-count-unique-users-without-cookies
 * @param address as AddressLimiter writes it
 */
export function toVisitorKey(secret: Buffer, address: string, userAgent: string): Key64 {
  return first64(
    createHmac('sha256', secret)
      .update(JSON.stringify([address, userAgent]))
      .digest(),
  );
}

/**
 * The key of a client's session. It includes the actor, so that another actor who learns the session cannot use up its numbers.
 * @param actor `null` for a client without a name, so that its next connection finds the session again
 */
export function toSessionKey(actor: ActorName | null, session: string): Key64 {
  return digest64(JSON.stringify(['session', actor, session]));
}

/** HTTP requests that agree in these fields are the same. */
export interface RequestIdentity {
  /** `null`: none. */
  readonly actor: ActorName | null;
  readonly idempotencyKey: string;
  readonly post: string;
  readonly metric: string;
  readonly action: string;
}

/** The key of a request that may be retried. Stores keep it beside those of sessions: the kind comes first, so that no text is both. */
export function toRequestKey({ actor, idempotencyKey, post, metric, action }: RequestIdentity): Key64 {
  return digest64(JSON.stringify(['request', actor, idempotencyKey, post, metric, action]));
}

function parseInt64(text: string): Key64 | null {
  if (!INT64.test(text)) return null;
  const value = BigInt(text);
  if (value !== BigInt.asIntN(64, value)) return null;
  return fromInt64(value);
}
