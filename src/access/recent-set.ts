/** The values that were added or looked up last: at least `max` of them, at most twice as many. */
export class RecentSet<T> {
  #recent = new Set<T>();
  #previous = new Set<T>();

  constructor(private readonly max: number) {}

  has(value: T): boolean {
    if (this.#recent.has(value)) return true;
    if (!this.#previous.has(value)) return false;
    this.add(value);
    return true;
  }

  add(value: T): void {
    if (this.#recent.size >= this.max) {
      this.#previous = this.#recent;
      this.#recent = new Set();
    }
    this.#recent.add(value);
  }
}
