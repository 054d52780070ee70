import fc from 'fast-check';

/**
 * Changes of a valid message, which get further into a decoder than random bytes. Positions are taken modulo the length.
 */
type Edit =
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'drop' | 'repeat' | 'move'; readonly at: number; readonly length: number; readonly to: number }
  | { readonly kind: 'write' | 'insert'; readonly at: number; readonly bytes: Uint8Array };

const POSITION_MAX = 4_095;
const SPAN_MAX = 24;
const EDITS_MAX = 4;
/** Largest number of repetitions of a span. */
const REPEATS_MAX = 64;

const position = fc.nat(POSITION_MAX);

/** Limits of ranges of numbers, characters and lengths in bytes. */
const EDGES = [
  [0x00],
  [0x01],
  [0x7f],
  [0x80],
  [0xff],
  [0xff, 0xff, 0xff, 0xff, 0x7f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
  // UTF-8 that is cut, too long, half a surrogate pair, and invalid.
  [0xe2, 0x82],
  [0xc0, 0xaf],
  [0xed, 0xa0, 0xbd],
  [0xf0, 0x9f, 0x98, 0x80],
].map((bytes) => Uint8Array.from(bytes));

const bytes = fc.oneof(fc.constantFrom(...EDGES), fc.uint8Array({ minLength: 1, maxLength: 8 }));

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ kind: fc.constantFrom('write' as const, 'insert' as const), at: position, bytes }),
  fc.record({
    kind: fc.constantFrom('drop' as const, 'repeat' as const, 'move' as const),
    at: position,
    length: fc.integer({ min: 1, max: SPAN_MAX }),
    to: position,
  }),
  fc.record({ kind: fc.constant('cut' as const), at: position }),
);

const edits = fc.array(edit, { maxLength: EDITS_MAX });

/** Up to four changes, applied to a message later. */
export const mutations: fc.Arbitrary<(message: Uint8Array) => Buffer> = edits.map(
  (changes) => (message) => changes.reduce(apply, Buffer.from(message)),
);

/** Messages with one to four changes, some without any. */
export function mutated(message: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Buffer> {
  return fc.tuple(message, mutations).map(([valid, change]) => change(valid));
}

/** The same for a text, which stays a text. */
export function mutatedText(message: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return mutated(message.map((text) => Buffer.from(text))).map((changed) => changed.toString());
}

function apply(message: Buffer, change: Edit): Buffer {
  const at = change.at % (message.length + 1);
  switch (change.kind) {
    case 'cut':
      return message.subarray(0, at);
    case 'write':
      return Buffer.concat([message.subarray(0, at), change.bytes, message.subarray(at + change.bytes.length)]);
    case 'insert':
      return Buffer.concat([message.subarray(0, at), change.bytes, message.subarray(at)]);
    case 'drop':
      return Buffer.concat([message.subarray(0, at), message.subarray(at + change.length)]);
    case 'repeat': {
      const span = message.subarray(at, at + change.length);
      const times = 1 + (change.to % REPEATS_MAX);
      return Buffer.concat([message.subarray(0, at), ...Array<Buffer>(times).fill(span), message.subarray(at)]);
    }
    case 'move': {
      const span = message.subarray(at, at + change.length);
      const rest = Buffer.concat([message.subarray(0, at), message.subarray(at + change.length)]);
      const to = change.to % (rest.length + 1);
      return Buffer.concat([rest.subarray(0, to), span, rest.subarray(to)]);
    }
  }
}
