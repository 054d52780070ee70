import type { PostViewers, ViewersChange } from '../../src/store/counter-store.js';

/** Viewers of a post at one gateway, as a test sets them. */
export class ViewersOfPost implements PostViewers {
  others = 0;
  #people: ReadonlySet<string> = new Set();

  people(): Iterable<string> {
    return this.#people;
  }

  hasPerson(person: string): boolean {
    return this.#people.has(person);
  }

  /** Sets the viewers. @returns the change, for a store */
  change(others: number, people: Iterable<string> = []): ViewersChange {
    const before = this.#people;
    this.others = others;
    this.#people = new Set(people);
    const came = [...this.#people].filter((person) => !before.has(person));
    return { viewers: this, people: [...came, ...[...before].filter((person) => !this.#people.has(person))] };
  }
}

/** A post whose viewers have no names. */
export function anonymousViewers(count: number): ViewersChange {
  return new ViewersOfPost().change(count);
}
