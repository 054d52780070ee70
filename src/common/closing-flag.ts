/** Whether the gateway still accepts work: one object, read by every part that lets something in. */
export class ClosingFlag {
  #isClosing = false;

  /** The gateway drains and ends: connections, streams and operations that come now are rejected. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  startClosing(): void {
    this.#isClosing = true;
  }
}
