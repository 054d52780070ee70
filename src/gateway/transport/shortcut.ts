/**
 * A bypass of a public interface of Node or of a library, which saves time or memory. It is off until it was proved at
 * boot, on this Node, and is disabled for good when an internal is not as expected. The public way always remains.
 */
export class Shortcut {
  #isOn = false;
  #hasFailed = false;

  constructor(
    readonly name: string,
    private readonly warn: (message: string) => void,
  ) {}

  get isOn(): boolean {
    return this.#isOn;
  }

  /** To be called for its proof. */
  enable(): void {
    this.#isOn = !this.#hasFailed;
  }

  /** Switches the shortcut off for good, and logs one warning. Never throws. */
  disable(reason: unknown): void {
    this.#isOn = false;
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    const text = reason instanceof Error ? reason.message : String(reason);
    this.warn(`shortcut ${this.name} is off, the public way is used: ${text}`);
  }
}
