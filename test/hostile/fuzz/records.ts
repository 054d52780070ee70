import fc from 'fast-check';
import type { PostState } from '../../../src/counters/bucket.js';
import type { Key64 } from '../../../src/counters/ids.js';
import type { RegionIncarnation } from '../../../src/counters/pn-counter.js';
import { ByteWriter } from '../../../src/store/embedded/disk/record-bytes.js';
import { writeCompressed } from '../../../src/store/embedded/disk/prefix-compression.js';
import { KEY64_BYTES, NUMBERED_BYTES, SortedKeyArray } from '../../../src/store/embedded/disk/sorted-key-array.js';
import { encodePost, type MemberLocation } from '../../../src/store/embedded/disk/post-record.js';
import { mostly, oddJson } from './json-texts.js';

/** Bytes that a store reads: replies and messages of Redis, and values of data files. */

const INTEGER_BYTES = 8;
const TIME_BYTES = 5;
export const REPLICAS: readonly RegionIncarnation[] = [
  { region: 'eu', epoch: 1, nonce: 7 },
  { region: 'us', epoch: 2, nonce: 8 },
];

const count = fc.oneof(
  { weight: 8, arbitrary: fc.nat(300) },
  { weight: 1, arbitrary: fc.constantFrom(65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER) },
);
const flag = fc.nat(1);
const text = fc.constantFrom('', 'eu', 'us,ap', 'x'.repeat(40), '-1', '9223372036854775807');

type Packed = number | string | Uint8Array;

/** msgpack like that of Redis's cmsgpack. */
function pack(values: readonly Packed[]): Buffer {
  return Buffer.concat(
    values.map((value) => {
      if (typeof value !== 'number') return Buffer.concat([headOf(Buffer.byteLength(value)), Buffer.from(value)]);
      if (value < 0x80) return Buffer.of(value);
      const bytes = Buffer.alloc(1 + INTEGER_BYTES, 0xcf);
      bytes.writeBigUInt64BE(BigInt(value), 1);
      return bytes;
    }),
  );
}

function headOf(length: number): Buffer {
  return length < 32 ? Buffer.of(0xa0 + length) : Buffer.of(0xd9, length);
}

function all(...arbitraries: fc.Arbitrary<Packed[]>[]): fc.Arbitrary<Packed[]> {
  return fc.tuple(...arbitraries).map((lists) => lists.flat());
}

function some(value: fc.Arbitrary<Packed>, length: number): fc.Arbitrary<Packed[]> {
  return fc.array(value, { minLength: length, maxLength: length });
}

/** A list prefixed with its length. */
function list(item: fc.Arbitrary<Packed[]>): fc.Arbitrary<Packed[]> {
  return fc.array(item, { maxLength: 3 }).map((items) => [items.length, ...items.flat()]);
}

/** A post record in Redis. */
export const redisRecords = fc
  .tuple(
    fc.uint8Array({ minLength: TIME_BYTES, maxLength: TIME_BYTES }),
    count,
    fc.array(fc.tuple(fc.nat(200), count), { maxLength: 6 }),
  )
  .map(([time, version, fields]) => Buffer.concat([time, pack([version, ...fields.flat()])]));

/** Replies of scripts/commit-batches-n.lua about two posts and two metrics, and of the scripts for regions. */
export const commitReplies = fc.oneof(
  all(some(fc.integer({ min: 1, max: 2 }), 1), some(count, 1)).map(pack),
  all(some(fc.constant(0), 1), some(count, 3), some(fc.constantFrom('\x01', '\x05\x06'), 1), some(count, 12)).map(pack),
);
export const standingReplies = all(some(count, 7), some(flag, 1), some(text, 1), list(some(count, 2))).map(pack);
const decimal = fc.constantFrom('', '-1', '5');
const home = all(some(text, 1), some(count, 1), some(fc.nat(2), 1));
const reached = all(
  ...[some(count, 1), some(decimal, 2), some(count, 1), some(fc.nat(3), 1), some(count, 6)],
  ...[some(flag, 1), some(text, 1), some(flag, 1)],
);
const homes = all(
  ...[some(flag, 2), home],
  ...[list(all(some(text, 1), some(count, 2), home, some(count, 1))), list(reached)],
);

export const changesReplies = all(
  some(fc.constant(1), 1),
  some(count, 6),
  list(some(count, 2)),
  list(all(some(text, 1), some(flag, 1), some(redisRecords, 1))),
  list(all(some(flag, 2), some(fc.constantFrom('-1', '5'), 1), some(count, 1), some(flag, 1))),
  list(homes),
).map(pack);

/** Messages that a gateway publishes of a post, and invalid ones. Their epoch is new, so that the next read replaces them. */
export const publishedTexts = fc
  .oneof(
    { weight: 3, arbitrary: fc.array(mostly(count.map(String)), { minLength: 5, maxLength: 9 }) },
    { weight: 1, arbitrary: fc.array(oddJson, { maxLength: 9 }) },
  )
  .map((values) => `[${values.join(',')}]`);

const key: fc.Arbitrary<Key64> = fc.record({ hi: fc.nat(3), lo: fc.nat(0xffff) });

function keys(width: number): fc.Arbitrary<SortedKeyArray> {
  return fc.array(fc.tuple(key, count), { maxLength: 8 }).map((entries) => {
    const packed = new SortedKeyArray(width);
    for (const [one, number] of entries) {
      const index = packed.indexOf(one);
      if (index < 0) packed.insert(-1 - index, one);
      if (width === NUMBERED_BYTES) packed.setNumber(index < 0 ? -1 - index : index, number);
    }
    return packed;
  });
}

const metric = fc.record({
  members: fc.nat(9),
  counter: fc.array(fc.record({ incarnation: fc.constantFrom(...REPLICAS), p: count, n: count }), { maxLength: 2 }),
});
const state: fc.Arbitrary<PostState> = fc.record({
  v: count,
  updatedAtMs: count,
  metrics: fc.array(metric, { maxLength: 3 }),
});

/** A post record on disk. */
export const postRecords = fc
  .tuple(state, fc.nat(2), keys(KEY64_BYTES), fc.option(keys(NUMBERED_BYTES)))
  .map(([of, chunks, inline, registers]) => {
    const index: MemberLocation = {
      size: inline.size,
      chunks,
      inline,
      loaded: null,
      registers: registers && { chunks, inline: registers, loaded: null },
    };
    if (of.metrics[0] !== undefined) of.metrics[0].members = inline.size;
    return taken(encodePost({ state: of, members: [index] }, REPLICAS, new ByteWriter()));
  });

/** A chunk of members, or of last seqs and registers, on disk. */
export const chunks = keys(NUMBERED_BYTES).map((entries) => {
  const writer = new ByteWriter();
  writeCompressed(entries, writer);
  return taken(writer);
});

function taken(writer: ByteWriter): Buffer {
  const { buffer, start, end } = writer.value();
  return Buffer.from(buffer.slice(start, end));
}
