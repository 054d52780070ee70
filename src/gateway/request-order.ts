/** The order of one connection's requests: operations that ingest has, and tasks that wait for their acknowledgements. */
export class RequestOrder {
  #unacknowledged = 0;
  #whenAcknowledged: (() => void)[] | null = null;
  /** Settles when all tasks so far are done. */
  #tail: Promise<void> | null = null;

  constructor(private readonly socket: { readonly connected: boolean }) {}

  /** Operations that ingest accepted and that were not acknowledged yet. */
  get unacknowledged(): number {
    return this.#unacknowledged;
  }

  beginOperation(): void {
    this.#unacknowledged += 1;
  }

  endOperation(): void {
    this.#unacknowledged -= 1;
    if (this.#unacknowledged > 0 || this.#whenAcknowledged === null) return;
    const resolves = this.#whenAcknowledged;
    this.#whenAcknowledged = null;
    for (const resolve of resolves) resolve();
  }

  /**
   * Runs `task` after all earlier requests: their operations acknowledged, their tasks done. It does not run if the
   * client has left by then, because nobody would release what it allocates.
   */
  runInOrder(task: () => Promise<void> | void): void {
    const before = this.#tail ?? Promise.resolve();
    const tail = before
      .then(() => this.#operationsAcknowledged())
      .then(() => (this.socket.connected ? task() : undefined))
      .finally(() => {
        if (this.#tail === tail) this.#tail = null;
      });
    this.#tail = tail;
  }

  #operationsAcknowledged(): Promise<void> | void {
    if (this.#unacknowledged > 0) return new Promise((resolve) => (this.#whenAcknowledged ??= []).push(resolve));
  }
}
