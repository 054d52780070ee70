/** Ways in which an internal can differ from the expected. */
export type Sabotage = 'absent' | 'throwing' | 'something else';

const OWN_CODE = '/src/gateway/';
const SOMETHING_ELSE = 'something else';

/**
 * Changes a property of `holder`, a prototype of Node or of a library, for the gateway's code only: Node and the library
 * still read the original.
 * @returns a function that restores the property
 */
export function sabotage(holder: object, property: string, how: Sabotage): () => void {
  const before = Object.getOwnPropertyDescriptor(holder, property);
  const parent = Object.getPrototypeOf(holder) as object;
  const values = new WeakMap<object, unknown>();
  const read = (object: object): unknown => {
    if (values.has(object)) return values.get(object);
    return before === undefined ? Reflect.get(parent, property, object) : before.value;
  };
  Object.defineProperty(holder, property, {
    configurable: true,
    get(this: object) {
      const value = read(this);
      return isReadByGateway() ? replaceValue(value, how) : value;
    },
    set(this: object, value: unknown) {
      values.set(this, value);
    },
  });
  return () => {
    if (before === undefined) Reflect.deleteProperty(holder, property);
    else Object.defineProperty(holder, property, before);
  };
}

function replaceValue(value: unknown, how: Sabotage): unknown {
  if (how === 'absent') return undefined;
  if (typeof value === 'function') return () => replaceResult(how);
  return replaceResult(how);
}

function replaceResult(how: Sabotage): unknown {
  if (how === 'throwing') throw new Error('sabotage');
  return SOMETHING_ELSE;
}

/** Reads the stack: the first frame below the getter. */
function isReadByGateway(): boolean {
  const frames = new Error().stack!.split('\n').slice(3);
  return frames.find((frame) => !frame.includes('at Reflect.'))?.includes(OWN_CODE) === true;
}
