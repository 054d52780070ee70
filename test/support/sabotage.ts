/** How an internal can be other than expected. */
export type Sabotage = 'absent' | 'throwing' | 'something else';

const OURS = '/src/gateway/';
const SOMETHING_ELSE = 'something else';

/**
 * Makes a property of `holder`, a prototype of Node's or of a library's, other than expected for the gateway's own code
 * alone: those whose internal it is go on with it.
 * @returns what undoes it
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
      return isReadByGateway() ? spoil(value, how) : value;
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

function spoil(value: unknown, how: Sabotage): unknown {
  if (how === 'absent') return undefined;
  if (typeof value === 'function') return () => spoilResult(how);
  return spoilResult(how);
}

function spoilResult(how: Sabotage): unknown {
  if (how === 'throwing') throw new Error('sabotage');
  return SOMETHING_ELSE;
}

/** By the stack: the first frame below the getter's. */
function isReadByGateway(): boolean {
  const frames = new Error().stack!.split('\n').slice(3);
  return frames.find((frame) => !frame.includes('at Reflect.'))?.includes(OURS) === true;
}
