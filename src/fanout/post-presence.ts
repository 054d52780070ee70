import type { PostViewers, ViewersChange } from '../store/counter-store.js';

/**
 * People of a post whose keys a gateway reports to the store, so that they count once over all gateways. It bounds what one post takes
 * there: 100 to 170 KB a gateway. Further people are counted by their number, and count again at another gateway.
 */
export const REPORTED_PEOPLE_MAX = 1_000;

/**
 * The viewers of one post at this gateway: connections, and the people behind them. A person is an actor, by the text of its key.
 * Connections that are not present watch the post and do not count in `live`.
 */
export class PostPresence implements PostViewers {
  connections = 0;
  /** Different actors, and connections without an actor; also those that are not present. */
  users = 0;
  /** Present connections without an actor. */
  #anonymous = 0;
  /** Present connections of actors. */
  #connectionsOfPeople = 0;
  /** The number of present connections of each person who has some. */
  readonly #present = new Map<string, number>();
  /** The number of other connections of each person who has some; `null`: nobody has. */
  #absent: Map<string, number> | null = null;
  /** Present people beyond REPORTED_PEOPLE_MAX; `null`: there never were any. */
  #unnamed: Set<string> | null = null;
  /** Named people who came or left since the last `takeChange`. */
  #changed: Set<string> | null = null;

  /** @param countsPeople whether a person counts once; otherwise each connection counts, and nobody is named */
  constructor(private readonly countsPeople: boolean) {}

  get live(): number {
    return this.#anonymous + (this.countsPeople ? this.#present.size : this.#connectionsOfPeople);
  }

  get others(): number {
    return this.#anonymous + (this.countsPeople ? this.#unnamedCount : this.#connectionsOfPeople);
  }

  hasPerson(person: string): boolean {
    return this.countsPeople && this.#present.has(person) && this.#unnamed?.has(person) !== true;
  }

  *people(): Iterable<string> {
    if (!this.countsPeople) return;
    for (const person of this.#present.keys()) if (this.hasPerson(person)) yield person;
  }

  /** @param person `null`: a connection without an actor */
  enter(person: string | null, isPresent: boolean): void {
    this.connections += 1;
    if (person === null) {
      this.users += 1;
      if (isPresent) this.#anonymous += 1;
      return;
    }
    if (!this.#watches(person)) this.users += 1;
    if (isPresent) this.#enterPresent(person);
    else add((this.#absent ??= new Map<string, number>()), person, 1);
  }

  /** Undoes an `enter` with the same arguments. */
  leave(person: string | null, isPresent: boolean): void {
    this.connections -= 1;
    if (person === null) {
      this.users -= 1;
      if (isPresent) this.#anonymous -= 1;
      return;
    }
    if (isPresent) this.#leavePresent(person);
    else if (this.#absent !== null) add(this.#absent, person, -1);
    if (!this.#watches(person)) this.users -= 1;
  }

  /** Reports people as far as REPORTED_PEOPLE_MAX allows, and returns what the store lacks. */
  takeChange(): ViewersChange {
    this.#nameMore();
    const people = this.#changed ?? [];
    this.#changed = null;
    return { viewers: this, people };
  }

  #watches(person: string): boolean {
    return this.#present.has(person) || this.#absent?.has(person) === true;
  }

  #enterPresent(person: string): void {
    this.#connectionsOfPeople += 1;
    if (add(this.#present, person, 1) > 1 || !this.countsPeople) return;
    if (this.#namedCount > REPORTED_PEOPLE_MAX) (this.#unnamed ??= new Set()).add(person);
    else this.#markChanged(person);
  }

  #leavePresent(person: string): void {
    this.#connectionsOfPeople -= 1;
    if (add(this.#present, person, -1) > 0 || !this.countsPeople) return;
    if (this.#unnamed?.delete(person) !== true) this.#markChanged(person);
  }

  get #namedCount(): number {
    return this.#present.size - this.#unnamedCount;
  }

  get #unnamedCount(): number {
    return this.#unnamed?.size ?? 0;
  }

  /** Called once a change, not for each person who leaves, because each search passes over all that was deleted from the set. */
  #nameMore(): void {
    for (const person of this.#unnamed ?? []) {
      if (this.#namedCount >= REPORTED_PEOPLE_MAX) return;
      this.#unnamed!.delete(person);
      this.#markChanged(person);
    }
  }

  #markChanged(person: string): void {
    (this.#changed ??= new Set()).add(person);
  }
}

/** @returns the new number; a number of 0 has no entry */
function add(numbers: Map<string, number>, key: string, change: 1 | -1): number {
  const number = (numbers.get(key) ?? 0) + change;
  if (number > 0) numbers.set(key, number);
  else numbers.delete(key);
  return number;
}
