import { describe, expect, it } from '@jest/globals';
import { adjust, key, like, METRICS, RULED_METRICS, unlike, view } from '../../../../test/contract/operations.js';
import type { Key64 } from '../../../counters/ids.js';
import type { Operation } from '../../../counters/operation.js';
import { COUNT_MAX } from '../../../counters/pn-counter.js';
import { BATCH_HEADER_VALUES, BatchEncoder, hashPost, sortForScript } from './batch-encoder.js';
import { hashKey } from './msgpack-writer.js';

const AT_MS = Date.UTC(2026, 0, 1);
const [ANN, BOB] = [key(1), key(2)];
const SESSION = { hi: 1, lo: 2 };
const NO_SESSION = { session: null, seq: 0 };
const packer = new BatchEncoder(METRICS);

/** Decodes msgpack integers and strings. */
function valuesOf(packed: Buffer): (number | string)[] {
  const values: (number | string)[] = [];
  const string = (at: number, length: number): number => {
    values.push(packed.toString('latin1', at, at + length));
    return at + length;
  };
  const integer = (at: number, bytes: number): number => {
    values.push(Number(`0x${packed.toString('hex', at, at + bytes)}`));
    return at + bytes;
  };
  for (let at = 0; at < packed.length;) {
    const first = packed[at++]!;
    if (first < 0x80) values.push(first);
    else if (first >= 0xe0) values.push(first - 256);
    else if (first === 0xd9) at = string(at + 1, packed[at]!);
    else if (first >= 0xa0 && first < 0xc0) at = string(at, first - 0xa0);
    else at = integer(at, 2 ** (first - 0xcc));
  }
  return values;
}

function pack(operations: readonly Operation[], encoder = packer): { posts: string[]; values: (number | string)[] } {
  const batch = { bucket: 0, producerId: 'life', batchNumber: 300, atMs: AT_MS, operations };
  const { posts, packed } = encoder.encode(batch);
  const [count, ...values] = valuesOf(packed);
  expect(count).toBe(values.length);
  return { posts, values };
}

function views(session: Key64): Operation {
  return view('a', 1, { session, seq: 1 });
}

describe('an encoded batch', () => {
  it('an encoded batch has its names, each once, and then its operations', () => {
    const operations = [
      view('a', 1_000),
      like('a', ANN, { session: SESSION, seq: COUNT_MAX }),
      unlike('a', { ...ANN }, { session: { ...SESSION }, seq: 70_000 }),
      adjust('a', -1),
    ];
    const { posts, values } = pack(operations);
    expect(posts).toEqual(['a']);
    expect(values).toEqual([
      ...['life', 300, 0, AT_MS, 1, 1, 0, 0, 1, 1, 0],
      ...['a', hashPost('a')],
      ...['4294967298', 306_460],
      ...[1, 0, 1],
      ...[String(BigInt.asIntN(64, (BigInt(ANN.hi) << 32n) | 1n)), hashKey(ANN)],
      ...[2, 1, 1, 1_000],
      ...[5, 1, 0, 1, 1, COUNT_MAX],
      ...[4, 1, 0, 1, 1, 70_000],
      ...[2, 1, 0, -1],
    ]);
  });

  it('an encoded batch has the members of one post and metric together', () => {
    const { posts, values } = pack([like('a', ANN), like('b', BOB), like('a', BOB), like('a', ANN)]);
    const sets = values.slice(BATCH_HEADER_VALUES + 4, BATCH_HEADER_VALUES + 4 + 6);
    const sizes = new Map([
      [sets[0], sets[2]!],
      [sets[3], sets[5]!],
    ]);
    expect(sizes).toEqual(
      new Map([
        [posts.indexOf('a') + 1, 2],
        [posts.indexOf('b') + 1, 1],
      ]),
    );
    const members = [21, 22, 23].map((at) => values[at]);
    const operations = [0, 1, 2, 3].map((i) => values[27 + 4 * i + 3] as number);
    expect(operations[0]).toBe(operations[3]);
    expect(operations.slice(0, 3).sort()).toEqual([1, 2, 3]);
    expect(new Set(members).size).toBe(2);
  });

  it('an encoded batch has a key for the visits of an actor to a post, and the options that a choice puts off', () => {
    const visit = { post: 'a', metric: 1, kind: 'visit', value: 1, actor: ANN, ...NO_SESSION } as const;
    const [first, second] = [
      { ...visit, atS: 1_000 },
      { ...visit, atS: 1_001, session: SESSION, seq: 9 },
    ];
    const { values } = pack([first, { ...like('a', ANN), metric: 3 }, second], new BatchEncoder(RULED_METRICS));
    const ann = String(BigInt.asIntN(64, (BigInt(ANN.hi) << 32n) | 1n));
    expect(values.slice(4, 10)).toEqual([1, 1, 1, 7_200_000, 3, 3]);
    expect(values.slice(-41)).toEqual([
      ...[...[1, 3, 1], ...[1, 4, 1], ...[1, 5, 1]],
      ...[ann, ann, ann, hashKey(ANN), hashKey(ANN), hashKey(ANN)],
      ...[3, 1, 1, 1, 1_000, 1_800],
      ...[1, 1, 3, 1],
      ...[8, 1, 4, 2],
      ...[8, 1, 5, 3],
      ...[7, 1, 1, 1, 1, 9, 1_001, 1_800],
    ]);
  });

  it('a batch without operations has no names', () => {
    expect(pack([])).toEqual({ posts: [], values: ['life', 300, 0, AT_MS, 0, 0, 0, 0, 0, 0, 0] });
  });

  it('the position before a batch of a log is one more than 0', () => {
    const batch = {
      bucket: 0,
      producerId: 'log',
      batchNumber: COUNT_MAX,
      afterInLog: 300,
      atMs: AT_MS,
      operations: [],
    };
    expect(valuesOf(packer.encode(batch).packed)).toEqual([11, 'log', COUNT_MAX, 301, AT_MS, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('a named batch has the kinds and actors of its operations, but none of the options that a choice puts off', () => {
    const batch = { bucket: 0, producerId: 'life', batchNumber: 300, atMs: AT_MS };
    const operations = [{ ...view('a'), actor: ANN }, { ...like('a', BOB), metric: 3 }, adjust('a', 1)];
    const [count, ...values] = valuesOf(new BatchEncoder(RULED_METRICS).encode({ ...batch, operations }, true).packed);
    const [ann, bob] = [ANN, BOB].map(({ hi, lo }) => String(BigInt.asIntN(64, (BigInt(hi) << 32n) | BigInt(lo))));
    expect([count, values[BATCH_HEADER_VALUES - 1]]).toEqual([values.length, 3]);
    expect(values.slice(-26)).toEqual([
      ...[0, ann, 1, bob, 2, ''],
      ...[2, 1, 1, 1],
      ...[1, 1, 3, 1],
      ...[8, 1, 4, 2],
      ...[8, 1, 5, 3],
      ...[2, 1, 0, 1],
    ]);
  });

  it('a batch with sums says so', () => {
    const batch = { bucket: 0, producerId: 'log', batchNumber: 9, afterInLog: 1, atMs: AT_MS, hasSums: true };
    const { packed } = packer.encode({ ...batch, operations: [view('a', 7)] });
    expect(valuesOf(packed)[BATCH_HEADER_VALUES]).toBe(-1);
  });

  it('a replay says so in place of a position in a log', () => {
    const batch = { bucket: 0, producerId: 'prod-one', batchNumber: 9, atMs: AT_MS, isReplay: true };
    const { packed } = packer.encode({ ...batch, operations: [view('a')] });
    expect(valuesOf(packed)[3]).toBe(-1);
  });

  it('an operation without an actor has index 0', () => {
    expect(pack([{ ...like('a', ANN), actor: null }]).values.slice(-4)).toEqual([1, 1, 0, 0]);
  });

  it('an encoded batch distinguishes sessions that share a hash', () => {
    const [one, other] = [
      { hi: 0, lo: 5 },
      { hi: 0, lo: 1_000_000_005 },
    ];
    const { values } = pack([one, other, one, other].map(views));
    expect(values.slice(13, 17)).toEqual(['5', '1000000005', 2_031, 2_031]);
    expect([0, 1, 2, 3].map((i) => values[17 + 6 * i + 4])).toEqual([1, 2, 1, 2]);
  });

  it.each([
    [0, 0, '0'],
    [0, 0xffffffff, '4294967295'],
    [0, 1_000_000_000, '1000000000'],
    [1, 2, '4294967298'],
    [0x7fffffff, 0xffffffff, '9223372036854775807'],
    [0x80000000, 0, '-9223372036854775808'],
    [0x80000000, 1, '-9223372036854775807'],
    [0xffffffff, 0, '-4294967296'],
    [0xffffffff, 0xffffffff, '-1'],
  ])('the key of %i and %i is encoded as %s, with the hash of its last nine digits', (hi, lo, decimal) => {
    const { values } = pack([views({ hi, lo })]);
    const digits = Math.abs(Number(decimal.slice(-9)));
    const hash = Math.floor(((digits * 1664525) % 4294967296) / 4096);
    expect(values.slice(13, 15)).toEqual([decimal, hash]);
  });

  it('a batch may have thousands of posts and sessions', () => {
    const operations = Array.from({ length: 5_000 }, (_, i) => view(`post-${i}`, 1, { session: key(i), seq: i + 1 }));
    const { posts, values } = pack(operations);
    expect(posts).toHaveLength(5_000);
    const first = BATCH_HEADER_VALUES + 4 * 5_000;
    const wrong = operations.filter(({ post, session, seq }, i) => {
      const [, postIndex, , , mark, sentSeq] = values.slice(first + 6 * i, first + 6 * i + 6) as number[];
      const known = values[BATCH_HEADER_VALUES + 2 * 5_000 + mark! - 1];
      return (
        posts[postIndex! - 1] !== post ||
        sentSeq !== seq ||
        known !== String(BigInt.asIntN(64, (BigInt(session!.hi) << 32n) | BigInt(session!.lo)))
      );
    });
    expect(wrong).toEqual([]);
  });
});

it.each([1, 2, 3, 5, 8, 13, 100])('all posts of a chunk are adjacent with %i chunks', (chunks) => {
  const size = 2 ** Math.ceil(Math.log2(chunks));
  const chunkOf = (post: string): number => {
    const chunk = hashPost(post) % size;
    return chunk >= chunks ? chunk - size / 2 : chunk;
  };
  const order = sortForScript(Array.from({ length: 1_000 }, (_, i) => `post-${i}`)).map(chunkOf);
  const begun = order.filter((chunk, i) => chunk !== order[i - 1]);
  expect(begun).toHaveLength(new Set(order).size);
});
