import type { EventsResponse } from '../../src/http/events/events.controller.js';
import type { ErrorBody } from '../../src/protocol/errors.js';

export interface EventsAnswer {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly body: EventsResponse | ErrorBody;
}

/** Sends events as JSON unless the headers say otherwise; a text is sent as it stands. */
export async function postEvents(
  url: string,
  body: string | Uint8Array | object,
  headers: Record<string, string> = { 'Content-Type': 'application/json' },
): Promise<EventsAnswer> {
  const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  const response = await fetch(`${url}/v1/events`, { method: 'POST', body: text, headers });
  return toAnswer(response);
}

export async function toAnswer(response: Response): Promise<EventsAnswer> {
  const body = (await response.json()) as EventsResponse | ErrorBody;
  return { status: response.status, retryAfter: response.headers.get('retry-after'), body };
}

/** The answer when all of this many events are counted. */
export function allAccepted(events: number): EventsAnswer {
  return { status: 202, retryAfter: null, body: { accepted: events, rejected: [] } };
}

export async function readCount(url: string, post: string, metric: string): Promise<number> {
  const response = await fetch(`${url}/v1/${post}/${metric}`);
  return ((await response.json()) as { count: number }).count;
}
