import { APPLIED, DUPLICATE, type Operation } from '../../src/counters/operation.js';
import type { Random } from '../support/random.js';
import { type Attempt, type IngestWorld, like, view } from './ingest-world.js';

export const POSTS = ['a', 'b', 'c', 'd', 'e'];
const RETRY_MS = 200;

/** An operation and its client's attempts. */
export interface SentOperation {
  readonly operation: Operation;
  readonly attempts: Attempt[];
}

/** A client with a session: retries operations that were not acknowledged, with the same seq. */
export class Client {
  readonly sent: SentOperation[] = [];
  readonly actor: { hi: number; lo: number };
  readonly #session: { hi: number; lo: number };

  constructor(
    private readonly world: IngestWorld,
    number: number,
  ) {
    this.actor = { hi: 1, lo: number };
    this.#session = { hi: 2, lo: number };
  }

  act(random: Random): void {
    const post = random.pick(POSTS);
    const seq = this.sent.length + 1;
    const operation = random.chance(0.5)
      ? view(post, this.#session, seq)
      : like(post, this.actor, random.chance(0.6), this.#session, seq);
    const sent = { operation, attempts: [] };
    this.sent.push(sent);
    this.#send(sent);
  }

  #send(sent: SentOperation): void {
    const attempt = this.world.submit(sent.operation, ({ answers }) => {
      if (answers.at(-1) !== 'settled') this.world.clock.after(RETRY_MS, () => this.#send(sent));
    });
    sent.attempts.push(attempt);
  }

  /** Whether the client's last operation on the post was a like. */
  likes(post: string): boolean {
    const last = this.sent.findLast(({ operation }) => operation.post === post && operation.kind === 'set');
    return last?.operation.value === 1;
  }
}

/** Each attempt gets one result; the last one is acknowledged, and at most one of them was applied. */
export function checkAnswers(attempts: readonly Attempt[], faults: string[]): void {
  const { seq } = attempts[0]!;
  for (const { answers } of attempts) if (answers.length !== 1) faults.push(`${seq} got [${answers.join()}]`);
  if (attempts.at(-1)!.answers[0] !== 'settled') faults.push(`${seq} was never acknowledged`);
  if (attempts.filter(({ outcome }) => (outcome & APPLIED) !== 0).length > 1) faults.push(`${seq} was applied twice`);
}

/** With a store that loses nothing, an operation that got UNAVAILABLE is committed before its retry. */
export function checkRetries(attempts: readonly Attempt[], faults: string[]): void {
  if (attempts.length > 1 && (attempts.at(-1)!.outcome & DUPLICATE) === 0)
    faults.push(`${attempts[0]!.seq} got UNAVAILABLE and was not committed`);
}
