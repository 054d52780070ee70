import { SCRIPT_CONSTANTS } from './script-constants.js';

/** Reads a Lua file by its path below this folder. */
export type ReadLua = (path: string) => string;

/** Lua files name libraries and constants in comments, several in a line, in any number of lines. */
type Directive = 'include' | 'needs' | 'constants';

/**
 * Puts the libraries that an entry script includes before it: dependencies first, each once, each as a function that returns
 * a table. So a library costs the script one of the 200 local variables that Lua allows, however many it declares itself.
 *
 * @throws Error when a library or a constant does not exist, or libraries need each other
 */
export function assembleScript(name: string, read: ReadLua): string {
  const path = `${name}.lua`;
  const entry = read(path);
  const libraries = new Map<string, string>();
  for (const library of namesIn(entry, 'include')) addLibrary(library, [path], libraries, read);
  const [first, ...rest] = entry.split('\n');
  return [first, ...libraries.values(), declareConstants(entry, path), ...rest].join('\n');
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
function addLibrary(library: string, users: readonly string[], libraries: Map<string, string>, read: ReadLua): void {
  if (libraries.has(library)) return;
  const path = `lib/${library}.lua`;
  if (users.includes(path)) throw new Error(`Lua libraries need each other: ${[...users, path].join(', ')}`);
  const lua = readLibrary(path, users.at(-1)!, read);
  for (const needed of namesIn(lua, 'needs')) addLibrary(needed, [...users, path], libraries, read);
  const constants = declareConstants(lua, path);
  libraries.set(library, `local ${libraryTable(library)} = (function()\n${constants}\n${lua}\nend)()`);
}

function readLibrary(path: string, user: string, read: ReadLua): string {
  try {
    return read(path);
  } catch (cause) {
    throw new Error(`${user} needs ${path}, which cannot be read`, { cause });
  }
}

function declareConstants(lua: string, path: string): string {
  const names = namesIn(lua, 'constants');
  if (names.length === 0) return '';
  const values = names.map((name) => {
    const value = SCRIPT_CONSTANTS[name];
    if (value === undefined)
      throw new Error(`${path} names the constant ${name}, which script-constants.ts does not have`);
    return JSON.stringify(value);
  });
  return `local ${names.join(', ')} = ${values.join(', ')}`;
}
