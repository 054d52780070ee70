import { describe, expect, it } from '@jest/globals';
import { assembleScript } from './assemble-script.js';
import { SCRIPT_CONSTANTS } from './script-constants.js';

function assemble(files: Readonly<Record<string, string>>): string {
  const read = (path: string): string => {
    const lua = files[path];
    if (lua === undefined) throw new Error('no such file');
    return lua;
  };
  return assembleScript('entry', { read, constants: SCRIPT_CONSTANTS });
}

describe('assembleScript', () => {
  it('assembleScript puts each library before the script once, after the libraries that it needs', () => {
    const source = assemble({
      'entry.lua': '#!lua\n-- @include top left\n-- @include right\nreturn top',
      'lib/top.lua': '-- @needs left right\nreturn { 1 }',
      'lib/left.lua': '-- @needs base-table\nreturn { 2 }',
      'lib/right.lua': '-- @needs base-table\nreturn { 3 }',
      'lib/base-table.lua': 'return { 4 }',
    });
    expect(source.split('\n')[0]).toBe('#!lua');
    expect(source.match(/^local .*$/gm)).toEqual(
      ['base_table', 'left', 'right', 'top'].map((table) => `local ${table} = (function()`),
    );
    expect(source.indexOf('return { 1 }')).toBeLessThan(source.indexOf('return top'));
  });

  it('assembleScript declares the constants that a file names, where it names them', () => {
    const source = assemble({
      'entry.lua': '#!lua\n-- @include lib\n-- @constants ERROR_PREFIX\nreturn 1',
      'lib/lib.lua': '-- @constants COUNT_MAX FEED_MAX\nreturn {}',
    });
    const { COUNT_MAX, FEED_MAX, ERROR_PREFIX } = SCRIPT_CONSTANTS;
    expect(source).toContain(`(function()\nlocal COUNT_MAX, FEED_MAX = ${COUNT_MAX!}, ${FEED_MAX!}\n`);
    expect(source).toContain(`end)()\nlocal ERROR_PREFIX = "${ERROR_PREFIX!}"\n`);
  });

  it('assembleScript leaves a script without libraries and constants as it is', () => {
    expect(assemble({ 'entry.lua': '#!lua\nreturn 1' })).toBe('#!lua\n\nreturn 1');
  });

  it('assembleScript puts late libraries and what only they need into a function', () => {
    const source = assemble({
      'entry.lua': '#!lua\n-- @include early\n-- @include-late late-table\nreturn early',
      'lib/early.lua': '-- @needs shared late-table\nreturn { 1 }',
      'lib/late-table.lua': '-- @needs shared deep\nreturn { 2 }',
      'lib/shared.lua': 'return { 3 }',
      'lib/deep.lua': 'return { 4 }',
    });
    expect(source.match(/^local .*$/gm)).toEqual([
      'local deep, late_table',
      'local shared = (function()',
      'local early = (function()',
      'local function include_late(library)',
    ]);
    const late = source.slice(source.indexOf('local function include_late'));
    expect(late).toContain("if library == 'deep' and not deep then\ndeep = (function()");
    expect(late).toContain("if library == 'late-table' and not late_table then\ninclude_late('deep')\nlate_table = (");
    expect(late).not.toContain('return { 3 }');
  });

  it('an error names the file that needs a missing library', () => {
    const files = { 'entry.lua': '#!lua\n-- @include one', 'lib/one.lua': '-- @needs other' };
    expect(() => assemble(files)).toThrow('lib/one.lua needs lib/other.lua, which cannot be read');
  });

  it('an error names the libraries that need each other', () => {
    const files = { 'entry.lua': '-- @include one', 'lib/one.lua': '-- @needs two', 'lib/two.lua': '-- @needs one' };
    const libraries = 'entry.lua, lib/one.lua, lib/two.lua, lib/one.lua';
    expect(() => assemble(files)).toThrow(`Lua libraries need each other: ${libraries}`);
  });

  it('an error names a missing constant', () => {
    const files = { 'entry.lua': '#!lua\n-- @constants NOT_THERE' };
    expect(() => assemble(files)).toThrow('entry.lua names the constant NOT_THERE');
  });
});
