import type { MilestonesResponse } from '../../src/http/milestones/milestones.controller.js';
import type { WonMilestonesResponse } from '../../src/http/milestones/milestone-admin.controller.js';

export const ADMIN_TOKEN = 'a-token-of-an-operator';

export interface Answer<T> {
  readonly status: number;
  readonly body: T;
}

/** Sends a request of an operator. A body that is no text is sent as JSON. */
export async function administer(
  url: string,
  method: 'GET' | 'PUT' | 'DELETE',
  query: string,
  body?: unknown,
): Promise<Answer<unknown>> {
  const response = await fetch(`${url}/admin/milestones${query}`, {
    method,
    headers: { Authorization: `Bearer ${ADMIN_TOKEN}` },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : (JSON.parse(text) as unknown) };
}

export function arm(url: string, post: string, metric: string, at: number): Promise<Answer<unknown>> {
  return administer(url, 'PUT', '', { post, metric, at });
}

/** @throws Error unless it is armed now and was not before */
export async function armNew(url: string, post: string, metric: string, ...numbers: readonly number[]): Promise<void> {
  for (const at of numbers) {
    const { status, body } = await arm(url, post, metric, at);
    if (status !== 201) throw new Error(`${metric} of ${post} at ${at}: ${status} ${JSON.stringify(body)}`);
  }
}

export async function readWinners(url: string, post: string, metric: string): Promise<WonMilestonesResponse> {
  const { body } = await administer(url, 'GET', `?post=${post}&metric=${metric}`);
  return body as WonMilestonesResponse;
}

export async function readMilestones(
  url: string,
  post: string,
  metric: string,
  headers: Record<string, string> = {},
): Promise<MilestonesResponse> {
  const response = await fetch(`${url}/v1/${post}/${metric}/milestones`, { headers });
  return (await response.json()) as MilestonesResponse;
}
