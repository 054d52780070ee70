import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Row, RowConsumer } from './row-consumer.js';

/** A program that follows the files of a sink: the numbered ones in their order, then `counts.ndjson`. Lines that are no JSON are skipped. */
export class FileFollower {
  /** Bytes read, by inode and birth, because files get another name, and a new file may get the inode of a removed one. */
  readonly #read = new Map<string, number>();
  #skipped = 0;

  constructor(
    private readonly directory: string,
    private readonly consumer: RowConsumer,
  ) {}

  /** Lines that were cut off by a crash. */
  get skipped(): number {
    return this.#skipped;
  }

  async poll(): Promise<void> {
    for (const name of await this.listFiles()) await this.#readNew(join(this.directory, name));
  }

  /** Oldest first. */
  async listFiles(): Promise<string[]> {
    const names = (await readdir(this.directory)).filter((name) => name.startsWith('counts.'));
    const numberOf = (name: string): number => Number(/\.(\d+)\./.exec(name)?.[1] ?? Infinity);
    return names.sort((a, b) => numberOf(a) - numberOf(b));
  }

  async #readNew(path: string): Promise<void> {
    const file = await open(path).catch(() => null);
    if (file === null) return;
    try {
      const { ino, birthtimeNs } = await file.stat({ bigint: true });
      const id = `${ino}:${birthtimeNs}`;
      const from = this.#read.get(id) ?? 0;
      const text = (await file.readFile()).subarray(from).toString('latin1');
      const lines = text.slice(0, text.lastIndexOf('\n') + 1);
      this.#read.set(id, from + lines.length);
      for (const line of lines.split('\n').slice(0, -1)) this.#take(line);
    } finally {
      await file.close();
    }
  }

  #take(line: string): void {
    try {
      this.consumer.take(JSON.parse(line) as Row);
    } catch {
      this.#skipped += 1;
    }
  }
}
