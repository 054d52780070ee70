import { expect } from '@jest/globals';
import type { MineEvent } from '../../src/protocol/messages.js';

/** The event that a gateway sends for a change, at any version. */
export function mineEvent(post: string, metric: string, on: boolean): MineEvent {
  return { post, metric, on, e: expect.any(String) as unknown as string, v: expect.any(Number) as unknown as number };
}
