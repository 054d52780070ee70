import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assembleScript } from './assemble-script.js';
import { SCRIPT_CONSTANTS, type ScriptConstants } from './script-constants.js';

/** Where Lua files are, and the constants that they may name. */
export interface LuaFolder {
  readonly folder: string;
  readonly constants: ScriptConstants;
}

/** The Lua files of the store are beside this file, in the bundle, too. */
const STORE_LUA: LuaFolder = { folder: import.meta.dirname, constants: SCRIPT_CONSTANTS };
/** Lua files that were read, by path: most scripts need the same libraries. */
const files = new Map<string, string>();

/**
 * A Lua script as it is sent to Redis. Its name ends with the number of its keys, or with n if that is a number of buckets.
 */
export class Script {
  readonly source: string;
  /** EVALSHA identifies the script by it. */
  readonly sha: string;

  /**
   * @param repliesInBytes whether strings in its replies are bytes; otherwise they are UTF-8
   * @throws Error when a Lua file is missing: the build is incomplete
   */
  constructor(
    readonly name: string,
    readonly repliesInBytes = false,
    { folder, constants }: LuaFolder = STORE_LUA,
  ) {
    this.source = assembleScript(name, { read: (path) => readLua(join(folder, path)), constants });
    this.sha = createHash('sha1').update(this.source).digest('hex');
  }
}

function readLua(path: string): string {
  let lua = files.get(path);
  if (lua === undefined) files.set(path, (lua = readFileSync(path, 'utf8')));
  return lua;
}
