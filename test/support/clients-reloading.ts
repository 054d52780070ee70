import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OperationResponse } from '../../src/protocol/messages.js';
import { type Client, connect, expectOk } from './clients.js';
import type { Random } from './random.js';

/** Probability that a client leaves for another gateway before its operations are acknowledged. */
const HOP = 1 / 4;
/** The wait after an error without `retryAfterMs`. */
const RETRY_MS = 100;

/** A page with a vote, metrics `readers` and `reads`, that an actor opens again and again, through any of these gateways. */
export interface ReloadingClient {
  readonly urls: readonly string[];
  readonly actor: string;
  readonly options: readonly string[];
  readonly random: Random;
}

/** The outcomes of one visit of a page. */
export interface Visit {
  readonly actor: string;
  readonly post: string;
  /** Metrics that it changed, by its acknowledgements. */
  readonly applied: readonly string[];
  /** How often the client sent its operations, and how many of these had been counted before. */
  readonly attempts: number;
  readonly duplicates: number;
}

/** Opens the page, with a session of its own, and repeats its operations through other gateways until they are acknowledged. */
export async function visitPage({ urls, actor, options, random }: ReloadingClient, post: string): Promise<Visit> {
  const auth = { actor, session: randomUUID() };
  const option = random.pick(options);
  for (let attempts = 1; ; attempts++) {
    const socket = connect(random.pick(urls), auth, { reconnection: false });
    const answers = await Promise.race([untilLost(socket, random.chance(HOP)), operate(socket, post, option)]);
    socket.close();
    if (answers === null) continue;
    const metrics = ['readers', 'reads', option];
    return {
      ...{ actor, post, attempts },
      applied: metrics.filter((_, i) => answers[i]!.applied),
      duplicates: answers.filter(({ duplicate }) => duplicate).length,
    };
  }
}

/** @returns `null` if the operations have to be sent again */
async function operate(socket: Client, post: string, option: string): Promise<readonly OperationResponse[] | null> {
  const answers = await Promise.all([
    socket.emitWithAck('add', { post, metric: 'readers', seq: 1 }),
    socket.emitWithAck('add', { post, metric: 'reads', seq: 2 }),
    socket.emitWithAck('set', { post, metric: option, on: true, seq: 3 }),
  ]);
  const rejected = answers.find((answer) => !answer.ok && answer.error.retryable);
  if (rejected === undefined || rejected.ok) return answers.map(expectOk);
  // On a slow machine a commit may exceed its deadline.
  await sleep(rejected.error.retryAfterMs ?? RETRY_MS);
  return null;
}

/** Resolves when the connection has ended, or, if the client hops, once it has sent its operations. */
function untilLost(socket: Client, hops: boolean): Promise<null> {
  return new Promise((resolve) => {
    for (const event of ['disconnect', 'connect_error'] as const) socket.once(event, () => resolve(null));
    if (hops) socket.once('connect', () => setImmediate(resolve, null));
  });
}
