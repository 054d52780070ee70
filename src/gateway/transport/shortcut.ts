/**
 * A way past a public interface of Node or of a library, which saves time or memory. It is off until it was proved on
 * this very Node, at boot, and goes off for good when an internal is not as expected; the public way is always there.
 */
export class Shortcut {
  #on = false;
  #failed = false;

  constructor(
    readonly name: string,
    private readonly warn: (message: string) => void,
  ) {}

  get isOn(): boolean {
    return this.#on;
  }

  /** Called when the proof has held. */
  enable(): void {
    this.#on = !this.#failed;
  }

  /** Switches it off for good, and says so once. Never throws. */
  disable(reason: unknown): void {
    this.#on = false;
    if (this.#failed) return;
    this.#failed = true;
    const text = reason instanceof Error ? reason.message : String(reason);
    this.warn(`shortcut ${this.name} is off, the public way is used: ${text}`);
  }
}
