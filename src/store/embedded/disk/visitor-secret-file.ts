import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { FILE_MODE, VISITOR_SECRETS_FILE } from './directory-files.js';

interface StoredSecret {
  /** In base64. */
  readonly secret: string;
  /** Ms since 1970. */
  readonly forgetAtMs: number;
}

const DAMAGED = `its ${VISITOR_SECRETS_FILE} is damaged; remove it: clients without a name then have another actor for the rest of the day`;

/** Secrets of days in a file of the data directory, which belongs to one gateway. */
export class VisitorSecretFile {
  readonly #path: string;
  #secrets: ReadonlyMap<string, StoredSecret>;

  /**
   * @param directory DATA_DIR, while its lock is held
   * @throws Error that says what is wrong with the file
   */
  constructor(
    directory: string,
    private readonly wallMs: () => number,
  ) {
    this.#path = join(directory, VISITOR_SECRETS_FILE);
    this.#secrets = existsSync(this.#path) ? parse(readFileSync(this.#path, 'utf8')) : new Map();
  }

  /** Removes the file, so that no secret outlasts its time while nothing uses it. */
  static remove(directory: string): void {
    rmSync(join(directory, VISITOR_SECRETS_FILE), { force: true });
  }

  /** @returns the secret that is kept for the day: the one that was claimed first */
  // eslint-disable-next-line @typescript-eslint/require-await -- what a write throws must reject
  async claim(day: string, secret: Buffer, forgetAtMs: number): Promise<Buffer> {
    const nowMs = this.wallMs();
    const secrets = new Map([...this.#secrets].filter(([, stored]) => stored.forgetAtMs > nowMs));
    if (!secrets.has(day)) secrets.set(day, { secret: secret.toString('base64'), forgetAtMs });
    if ([...secrets.keys()].join() !== [...this.#secrets.keys()].join()) this.#write(secrets);
    return Buffer.from(secrets.get(day)!.secret, 'base64');
  }

  /** Replaces the file at once: after a crash it is the one before or the new one. */
  #write(secrets: ReadonlyMap<string, StoredSecret>): void {
    const path = `${this.#path}.new`;
    const file = openSync(path, 'w', FILE_MODE);
    try {
      writeSync(file, JSON.stringify(Object.fromEntries(secrets)));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(path, this.#path);
    this.#secrets = secrets;
  }
}

function parse(text: string): Map<string, StoredSecret> {
  const entries = parseEntries(text);
  if (entries?.every(isStored) !== true) throw new Error(DAMAGED);
  return new Map(entries);
}

function parseEntries(text: string): [string, StoredSecret][] | null {
  try {
    return Object.entries(JSON.parse(text) as Record<string, StoredSecret>);
  } catch {
    return null;
  }
}

function isStored([, stored]: [string, Partial<StoredSecret> | null]): boolean {
  return typeof stored?.secret === 'string' && typeof stored.forgetAtMs === 'number';
}
