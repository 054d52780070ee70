import type { Clock } from '../../../common/clock.js';
import type { ServerConnection } from './server-connection.js';

/**
 * How long a replica may take. A write may wait for the WAIT before it and then for its own: together they stay below
 * the deadline of a command, so that a replica that hangs does not cost the connection to its primary.
 */
const WAIT_MS = 500;

/**
 * Finds out when a replica has the writes. Writes of one turn share a WAIT, which is sent over the same socket after the
 * last of them. One WAIT is in flight at a time, because it blocks its connection:
 *
 *   write write · WAIT ─────────▶ 1   write write write · WAIT ─────────▶ 1
 *                 write  write write ─┘ sent meanwhile, covered by the next
 */
export class ReplicaWait {
  #last: Promise<unknown> = Promise.resolve();
  #next: { readonly socketNumber: number; readonly replicated: Promise<void> } | null = null;

  constructor(
    private readonly connection: ServerConnection,
    private readonly clock: Clock,
  ) {}

  /** Called right after a write was sent. Rejects when no replica has it in time, or when the socket was lost. */
  replicated(): Promise<void> {
    const { socketNumber } = this.connection;
    if (this.#next?.socketNumber !== socketNumber) {
      const replicated = this.#waitAfter(this.#last, socketNumber);
      this.#next = { socketNumber, replicated };
      this.#last = replicated.catch(() => undefined);
    }
    return this.#next.replicated;
  }

  async #waitAfter(last: Promise<unknown>, socketNumber: number): Promise<void> {
    await last;
    await new Promise<void>((resolve) => this.clock.soon(resolve));
    if (this.#next?.socketNumber === socketNumber) this.#next = null;
    const { connection } = this;
    if (connection.socketNumber !== socketNumber)
      throw new Error(`${connection.name}: the connection was lost before a replica had confirmed`);
    const replicas = await connection.sendCommand('wait', [1, WAIT_MS]);
    if (!(Number(replicas) >= 1)) throw new Error(`${connection.name}: no replica confirmed within ${WAIT_MS} ms`);
  }
}
