import { readdir, rename, rm } from 'node:fs/promises';
import { join, type ParsedPath, parse } from 'node:path';

/** Full files that are kept besides the current one. */
const FILES_MAX = 8;

/** Full files of a sink beside the current one, oldest first: `counts.1.ndjson`, `counts.2.ndjson` and so on. */
export class NumberedFiles {
  readonly #parsed: ParsedPath;
  readonly #pattern: RegExp;

  /** @param path the current file */
  constructor(private readonly path: string) {
    this.#parsed = parse(path);
    const { name, ext } = this.#parsed;
    this.#pattern = new RegExp(`^${escape(name)}\\.(?<number>[1-9]\\d*)${escape(ext)}$`);
  }

  async exist(): Promise<boolean> {
    return (await this.#listNumbers()).length > 0;
  }

  /** Gives the current file the next number, and removes the oldest files. */
  async add(): Promise<void> {
    const numbers = await this.#listNumbers();
    await rename(this.path, this.#pathOf((numbers.at(-1) ?? 0) + 1));
    for (const number of numbers.slice(0, Math.max(numbers.length + 1 - FILES_MAX, 0))) await rm(this.#pathOf(number));
  }

  async #listNumbers(): Promise<number[]> {
    const names = await readdir(this.#parsed.dir);
    const numbers = names.map((name) => Number(this.#pattern.exec(name)?.groups?.['number']));
    return numbers.filter((number) => Number.isSafeInteger(number)).sort((a, b) => a - b);
  }

  #pathOf(number: number): string {
    const { dir, name, ext } = this.#parsed;
    return join(dir, `${name}.${number}${ext}`);
  }
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
