import { expect } from '@jest/globals';
import { HTTP_STATUS } from '../../../src/protocol/errors.js';
import type { Effect } from './expected.js';

/** The error object of docs/protocol.md, on any transport. */
export function expectError(error: unknown): void {
  expect(error).toMatchObject({
    code: expect.any(String),
    message: expect.any(String),
    retryable: expect.any(Boolean),
  });
  const { code, message } = error as { code: string; message: string };
  expect(Object.keys(HTTP_STATUS)).toContain(code);
  expect(message.length).toBeGreaterThan(10);
}

interface Bounds {
  least: number;
  most: number;
}

/** The expected counts by the acknowledgements. */
export class Books {
  readonly #bounds = new Map<string, Bounds>();

  /** The effect was acknowledged: applied, or not. */
  acknowledged({ post, metric, by }: Effect, applied: boolean): void {
    if (!applied) return;
    const bounds = this.#of(post, metric);
    bounds.least += by;
    bounds.most += by;
  }

  /** The operation was sent, and its outcome is unknown. */
  unknown({ post, metric, by }: Effect): void {
    const bounds = this.#of(post, metric);
    if (by > 0) bounds.most += by;
    else bounds.least += by;
  }

  /** Compares with the gateway's counts of all used posts. */
  async expectCounts(url: string): Promise<void> {
    for (const [name, { least, most }] of this.#bounds) {
      const [post, metric] = name.split(' ') as [string, string];
      const response = await fetch(`${url}/v1/${encodeURIComponent(post)}/${metric}`);
      const { count } = (await response.json()) as { count: number };
      expect({ name, count, isWithin: least <= count && count <= most }).toEqual({ name, count, isWithin: true });
    }
  }

  #of(post: string, metric: string): Bounds {
    const name = `${post} ${metric}`;
    let bounds = this.#bounds.get(name);
    if (bounds === undefined) this.#bounds.set(name, (bounds = { least: 0, most: 0 }));
    return bounds;
  }
}
