import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The Lua files are beside this file, in the bundle, too. */
const FOLDER = import.meta.dirname;
const INCLUDE = /^-- include ([a-z-]+)$/gm;

/** A Lua script, as Redis is given it. The end of its name is the number of its keys; n: as many as there are of something. */
export class Script {
  readonly source: string;
  /** By which EVALSHA names it. */
  readonly sha: string;

  /**
   * @param repliesInBytes  whether strings in its replies are bytes, else UTF-8
   * @throws Error when there is no such file: the build is incomplete.
   */
  constructor(
    readonly name: string,
    readonly repliesInBytes = false,
  ) {
    this.source = readLua(name).replace(INCLUDE, (_, library: string) => readLua(`lib/${library}`));
    this.sha = createHash('sha1').update(this.source).digest('hex');
  }
}

function readLua(name: string): string {
  return readFileSync(join(FOLDER, `${name}.lua`), 'utf8');
}
