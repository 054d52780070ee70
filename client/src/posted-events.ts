import type { UnacknowledgedOperation } from './session.js';
import type { Credentials } from './transport.js';

/** The gateway takes at most this many in one request. */
const EVENTS_MAX = 500;

/** See "Events without an answer" in docs/protocol.md. */
export interface PostedEvent {
  readonly post: string;
  readonly metric: string;
  readonly by?: number;
  readonly on?: boolean;
  readonly seq?: number;
  readonly key?: string;
}

/** The idempotency key of the nth request of an operation: HTTP adds one at a time. */
export function requestKey(session: string, seq: number, n: number): string {
  return `${session}.${seq}.${n}`;
}

/** The first operations as events, which the gateway takes for the same as those that a connection of their kind sends. */
export function toEvents(operations: readonly UnacknowledgedOperation[], session: string): PostedEvent[] {
  const events: PostedEvent[] = [];
  for (const { seq, post, metric, value, sentOver } of operations) {
    const isOverHttp = sentOver === 'events';
    const isToggle = typeof value === 'boolean';
    const times = isOverHttp && !isToggle ? value : 1;
    for (let n = 1; n <= times && events.length < EVENTS_MAX; n++) {
      const effect = isToggle ? { on: value } : { by: isOverHttp ? 1 : value };
      events.push({ post, metric, ...effect, ...(isOverHttp ? { key: requestKey(session, seq, n) } : { seq }) });
    }
  }
  return events;
}

/** The body of `POST /v1/events`. It has the credentials, because headers would cost a preflight, and a beacon has none. */
export function toBody(credentials: Credentials, events: readonly PostedEvent[]): string {
  return JSON.stringify({ ...credentials, events });
}

/**
 * The actor that a gateway takes the credentials for. A token is not verified here.
 * @throws Error if it cannot be read, or has no `sub`: entries of two users would look the same
 */
export function readActor({ token, actor }: Credentials): string | undefined {
  if (token === undefined) return actor;
  const payload = atob(token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/'));
  const { sub } = JSON.parse(payload) as { sub?: string };
  if (sub === undefined) throw new Error('the token names no user');
  return sub;
}
