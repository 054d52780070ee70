import fc from 'fast-check';

/** JSON as text instead of values: a text can repeat a field and contain numbers that no value holds. */

/** Nested lists: V8 parses some thousand levels, but code that walks the result may overflow. */
const DEPTH_MAX = 3_000;
const LONG_MAX = 20_000;

const SPECIAL = [
  ...['null', 'true', 'false', '0', '-0', '1', '-1', '1.5', '5e-324', '1e308', '1e309', '-1e309', '1e3', '1001'],
  ...['9007199254740991', '9007199254740992', '9007199254740993', '-9007199254740992', '18446744073709551616'],
  ...['9'.repeat(400), '0x1', '01', 'NaN', 'Infinity', 'undefined', "'a'"],
  ...['""', '" "', '"1"', '"true"', '"null"', '"[]"', '"a/b"', '"a,b"', '"a\\nb"', '"..%2f"'],
  ...['"__proto__"', '"constructor"', '"toString"', '"length"', '"hasOwnProperty"'],
  ...['"\\u0000"', '"\\ud83d"', '"\\ud83d\\ude00"', '"ä"', '"😀"', '"\\u202e"', '"\\u2028"', '"<script>"'],
  ...['[]', '[null]', '[[]]', '{}', '{"":1}', '{"__proto__":{"post":"a"}}', '{"constructor":{"prototype":1}}'],
  ...['{"length":1,"0":"a"}', '{"toString":null}', '{"toJSON":1}', '{"_placeholder":true,"num":0}', '{"post":"a"}'],
] as const;

/** JSON and nearly JSON: limits of ranges, names of inherited properties, depth and length. */
export const oddJson: fc.Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...SPECIAL) },
  { weight: 2, arbitrary: fc.json({ maxDepth: 2 }) },
  { weight: 2, arbitrary: fc.string({ maxLength: 80, unit: 'binary' }).map((text) => JSON.stringify(text)) },
  { weight: 1, arbitrary: fc.double().map(String) },
  { weight: 1, arbitrary: fc.bigInt().map(String) },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.nat(DEPTH_MAX).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
      fc.nat(DEPTH_MAX / 6).map((depth) => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth)),
      fc.nat(LONG_MAX).map((length) => `"${'x'.repeat(length)}"`),
      fc.nat(LONG_MAX / 4).map((length) => `[1${',1'.repeat(length)}]`),
    ),
  },
);

/** Mostly a valid text. */
export function mostly(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof({ weight: 9, arbitrary: text }, { weight: 1, arbitrary: oddJson });
}

/** Name of a field, its frequency in ten, and its value. */
export type Field = readonly [name: string, often: number, value: fc.Arbitrary<string>];

const extraName = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'toString', 'post', 'seq', 'actor', ' post', ''),
  fc.string({ maxLength: 70 }),
);

/** An object of these fields in any order; a field may be missing, repeated, or unknown. */
export function objectText(fields: readonly Field[]): fc.Arbitrary<string> {
  const members = fields.map(([name, often, value]) =>
    fc.tuple(fc.nat(9), mostly(value)).map(([roll, text]) => (roll < often ? [`"${name}":${text}`] : [])),
  );
  const extra = fc
    .tuple(fc.nat(19), extraName, oddJson)
    .map(([roll, name, text]) => (roll === 0 ? [`${JSON.stringify(name)}:${text}`] : []));
  return fc.tuple(fc.nat(9), ...members, extra).map(([first, ...fields]) => {
    const texts = fields.flat();
    const at = first % (texts.length + 1);
    return `{${[...texts.slice(at), ...texts.slice(0, at)].join(',')}}`;
  });
}

export function listText(item: fc.Arbitrary<string>, maxLength: number): fc.Arbitrary<string> {
  return fc.array(item, { maxLength }).map((items) => `[${items.join(',')}]`);
}
