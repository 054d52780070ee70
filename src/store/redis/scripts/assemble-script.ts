import type { ScriptConstants } from './script-constants.js';

/** Lua files, and the constants that they may name. */
export interface LuaSource {
  /** Reads a Lua file by its path below the folder of the scripts. */
  readonly read: (path: string) => string;
  readonly constants: ScriptConstants;
}

/** Lua files name libraries and constants in comments, several in a line, in any number of lines. */
type Directive = 'include' | 'include-late' | 'needs' | 'constants';

/**
 * Puts the libraries that an entry script includes before it: dependencies first, each once, each as a function that returns
 * a table. So a library costs the script one of the 200 local variables that Lua allows, however many it declares itself.
 *
 * Each call runs all of the script, and creates all tables and functions of the libraries. Those after `@include-late`, and those
 * that only they need, are nil until the script calls `include_late` with the name of the library.
 *
 * @throws Error when a library or a constant does not exist, or libraries need each other
 */
export function assembleScript(name: string, source: LuaSource): string {
  const path = `${name}.lua`;
  const entry = source.read(path);
  const late = new Set(namesIn(entry, 'include-late'));
  const libraries = collectLibraries(namesIn(entry, 'include'), late, path, source);
  const lateLibraries = collectLibraries(late, new Set(libraries.keys()), path, source);
  const [first, ...rest] = entry.split('\n');
  return [
    first,
    ...declareLate(lateLibraries),
    ...[...libraries].map(([library, { lua }]) => `local ${libraryTable(library)} = ${lua}`),
    ...defineIncludeLate(lateLibraries),
    declareConstants(entry, path, source),
    ...rest,
  ].join('\n');
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

/** A library, as an expression of Lua, and the libraries that it names. */
interface Library {
  readonly lua: string;
  readonly needs: readonly string[];
}

/**
 * @param except libraries that are not collected
 * @returns the libraries and those that they need, dependencies first
 */
function collectLibraries(
  names: Iterable<string>,
  except: ReadonlySet<string>,
  entryPath: string,
  source: LuaSource,
): Map<string, Library> {
  const libraries = new Map<string, Library>();
  /** @param users the files that need the library, the entry script first */
  const add = (library: string, users: readonly string[]): void => {
    if (except.has(library) || libraries.has(library)) return;
    const path = `lib/${library}.lua`;
    if (users.includes(path)) throw new Error(`Lua libraries need each other: ${[...users, path].join(', ')}`);
    const lua = readLibrary(path, users.at(-1)!, source);
    const needs = namesIn(lua, 'needs');
    for (const needed of needs) add(needed, [...users, path]);
    libraries.set(library, { lua: `(function()\n${declareConstants(lua, path, source)}\n${lua}\nend)()`, needs });
  };
  for (const name of names) add(name, [entryPath]);
  return libraries;
}

function declareLate(libraries: ReadonlyMap<string, Library>): string[] {
  return libraries.size === 0 ? [] : [`local ${[...libraries.keys()].map(libraryTable).join(', ')}`];
}

/** Defines one function for all late libraries, because each function that the script creates costs every call. */
function defineIncludeLate(libraries: ReadonlyMap<string, Library>): string[] {
  if (libraries.size === 0) return [];
  const cases = [...libraries].map(([library, { lua, needs }]) => {
    const late = needs.filter((needed) => libraries.has(needed)).map((needed) => `include_late('${needed}')\n`);
    const table = libraryTable(library);
    return `if library == '${library}' and not ${table} then\n${late.join('')}${table} = ${lua}\nend`;
  });
  return ['local function include_late(library)', ...cases, 'end'];
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
