import type { ScriptConstants } from './script-constants.js';

/** Lua files, and the constants that they may name. */
export interface LuaSource {
  /** Reads a Lua file by its path below the folder of the scripts. */
  readonly read: (path: string) => string;
  readonly constants: ScriptConstants;
}

/** Lua files name libraries and constants in comments, several in a line, in any number of lines. */
type Directive = 'include' | 'needs' | 'constants';

/**
 * Puts the libraries that an entry script includes before it: dependencies first, each once, each as a function that returns
 * a table. So a library costs the script one of the 200 local variables that Lua allows, however many it declares itself.
 *
 * @throws Error when a library or a constant does not exist, or libraries need each other
 */
export function assembleScript(name: string, source: LuaSource): string {
  const path = `${name}.lua`;
  const entry = source.read(path);
  const libraries = new Map<string, string>();
  for (const library of namesIn(entry, 'include')) addLibrary(library, [path], libraries, source);
  const [first, ...rest] = entry.split('\n');
  return [first, ...libraries.values(), declareConstants(entry, path, source), ...rest].join('\n');
}

/** @returns the names after `-- @directive` in a Lua file */
export function namesIn(lua: string, directive: Directive): string[] {
  const lines = [...lua.matchAll(new RegExp(`^-- @${directive} (.+)$`, 'gm'))];
  return lines.flatMap(([, names]) => names!.trim().split(/ +/));
}

/** @returns the name of the table that a library is in Lua */
export function libraryTable(library: string): string {
  return library.replaceAll('-', '_');
}

/** @param users the files that need the library, the entry script first */
function addLibrary(
  library: string,
  users: readonly string[],
  libraries: Map<string, string>,
  source: LuaSource,
): void {
  if (libraries.has(library)) return;
  const path = `lib/${library}.lua`;
  if (users.includes(path)) throw new Error(`Lua libraries need each other: ${[...users, path].join(', ')}`);
  const lua = readLibrary(path, users.at(-1)!, source);
  for (const needed of namesIn(lua, 'needs')) addLibrary(needed, [...users, path], libraries, source);
  const constants = declareConstants(lua, path, source);
  libraries.set(library, `local ${libraryTable(library)} = (function()\n${constants}\n${lua}\nend)()`);
}

function readLibrary(path: string, user: string, { read }: LuaSource): string {
  try {
    return read(path);
  } catch (cause) {
    throw new Error(`${user} needs ${path}, which cannot be read`, { cause });
  }
}

function declareConstants(lua: string, path: string, { constants }: LuaSource): string {
  const names = namesIn(lua, 'constants');
  if (names.length === 0) return '';
  const values = names.map((name) => {
    const value = constants[name];
    if (value === undefined) throw new Error(`${path} names the constant ${name}, which does not exist`);
    return JSON.stringify(value);
  });
  return `local ${names.join(', ')} = ${values.join(', ')}`;
}
