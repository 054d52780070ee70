import { createHash } from 'node:crypto';
import swc from '@swc/jest';

/** Standard objects that no test replaces. */
const STANDARD = [
  ...['Array', 'BigInt', 'Boolean', 'Buffer', 'DataView', 'Date', 'Error', 'JSON', 'Map', 'Math', 'Number', 'Object'],
  ...['Promise', 'RangeError', 'Reflect', 'RegExp', 'Set', 'String', 'Symbol', 'TypeError', 'WeakMap', 'WeakSet'],
  ...['Uint8Array', 'Int32Array', 'Uint32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array'],
];
/** Swc indents what is not at the top level of a module. */
const DECLARATION = /^(?:export )?(?:default )?(?:import|class|const|let|var|(?:async )?function)\b[^=(]*/gm;

/**
 * Makes constants of the standard objects that a module uses. Jest runs modules in a context of `node:vm`, where each use of
 * a global is a call into C++: simulations, and all other tests that compute, would take twice as much CPU.
 */
function createTransformer(options) {
  const { getCacheKey, process, processAsync } = swc.createTransformer(options);
  const key = STANDARD.join();
  return {
    getCacheKey: (...args) =>
      createHash('sha256')
        .update(getCacheKey(...args))
        .update(key)
        .digest('hex'),
    process: (...args) => withConstants(process(...args)),
    processAsync: async (...args) => withConstants(await processAsync(...args)),
  };
}

function withConstants(transformed) {
  const { code } = transformed;
  const declared = new Set((code.match(DECLARATION) ?? []).join().match(/\w+/g));
  const used = new Set(code.match(/\w+/g));
  const names = STANDARD.filter((name) => used.has(name) && !declared.has(name));
  // In the first line, so that lines keep their numbers.
  return { ...transformed, code: `const { ${names.join()} } = globalThis; ${code}` };
}

export default { createTransformer };
