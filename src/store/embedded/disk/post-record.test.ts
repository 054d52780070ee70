import { describe, expect, it } from '@jest/globals';
import type { Key64 } from '../../../counters/ids.js';
import type { RegionIncarnation } from '../../../counters/pn-counter.js';
import { ByteWriter } from './record-bytes.js';
import { KEY64_BYTES, NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';
import {
  decodePost,
  encodePost,
  type MemberLocation,
  locateMembers,
  type PostRecord,
  type RegisterLocation,
} from './post-record.js';

const INCARNATIONS: readonly RegionIncarnation[] = [
  { region: 'eu', epoch: 1, nonce: 4_294_967_295 },
  { region: 'us', epoch: 3, nonce: 0 },
];

function encode(record: PostRecord): Buffer {
  const { buffer, start, end } = encodePost(record, INCARNATIONS, new ByteWriter()).value();
  return Buffer.from(buffer.slice(start, end));
}

/** A location with these keys, which have no chunks. */
function locate(size: number, chunks: number, keys: readonly Key64[] = []): MemberLocation {
  const inline = new SortedKeyArray(KEY64_BYTES);
  for (const key of keys) inline.insert(inline.size, key);
  return { size, chunks, inline, loaded: null, registers: null };
}

/** For comparisons, because the keys of a set are private. */
function plain({ state, members }: PostRecord): unknown {
  const keysOf = ({ inline }: MemberLocation): Key64[] =>
    Array.from({ length: inline.size }, (_, i) => inline.keyAt(i));
  return { state, members: members.map((of) => ({ size: of.size, chunks: of.chunks, keys: keysOf(of) })) };
}

describe('the record of a post', () => {
  it('a record is decoded as it was encoded', () => {
    const keys = [
      { hi: 1, lo: 2 },
      { hi: 0xffffffff, lo: 0xffffffff },
    ];
    const record: PostRecord = {
      state: {
        v: Number.MAX_SAFE_INTEGER,
        updatedAtMs: 1_767_225_600_000,
        metrics: [
          { members: 2, counter: [{ incarnation: INCARNATIONS[1]!, p: 5, n: 3 }] },
          {
            members: 0,
            counter: INCARNATIONS.map((incarnation, i) => ({ incarnation, p: Number.MAX_SAFE_INTEGER, n: i })),
          },
          { members: 0, counter: [] },
          { members: 1_000_000, counter: [] },
        ],
      },
      members: [locate(2, 0, keys), locate(0, 0), locate(0, 0), locate(1_000_000, 9)],
    };
    expect(plain(decodePost(encode(record), INCARNATIONS))).toEqual(plain(record));
  });

  it('a record with likes and views of one region and no members takes about 20 bytes', () => {
    const counter = [{ incarnation: INCARNATIONS[0]!, p: 150, n: 0 }];
    const record: PostRecord = {
      state: {
        v: 12,
        updatedAtMs: 1_767_225_600_000,
        metrics: [
          { members: 0, counter },
          { members: 0, counter },
        ],
      },
      members: [],
    };
    expect(encode(record).length).toBeLessThanOrEqual(21);
  });

  it('a record without inline members keeps the number of their chunks, and the actors that differ from the chunks', () => {
    const record: PostRecord = {
      state: { v: 9, updatedAtMs: 1, metrics: [{ members: 0, counter: [] }] },
      members: [locate(0, 3, [{ hi: 1, lo: 2 }])],
    };
    expect(plain(decodePost(encode(record), INCARNATIONS))).toEqual(plain(record));
  });

  it('a record has the newest registers, and the number of chunks of the others', () => {
    const inline = new SortedKeyArray(NUMBERED_BYTES);
    inline.insert(0, { hi: 1, lo: 2 });
    inline.setNumber(0, Number.MAX_SAFE_INTEGER);
    const counter = INCARNATIONS.map((incarnation) => ({ incarnation, p: 1, n: 0 }));
    const record: PostRecord = {
      state: { v: 9, updatedAtMs: 1, metrics: [{ members: 1, counter }] },
      members: [{ ...locate(1, 0, [{ hi: 1, lo: 2 }]), registers: { chunks: 7, inline, loaded: null } }],
    };
    const read = decodePost(encode(record), INCARNATIONS);
    expect(plain(read)).toEqual(plain(record));
    const { registers } = read.members[0]!;
    expect([registers!.chunks, registers!.inline.size]).toEqual([7, 1]);
    expect([registers!.inline.keyAt(0), registers!.inline.numberAt(0)]).toEqual([
      { hi: 1, lo: 2 },
      Number.MAX_SAFE_INTEGER,
    ]);
  });

  it('a record whose registers have all expired equals one that never had any', () => {
    const record = (registers: RegisterLocation | null): PostRecord => {
      return {
        state: { v: 9, updatedAtMs: 1, metrics: [{ members: 0, counter: [] }] },
        members: [{ ...locate(0, 0), registers }],
      };
    };
    const gone = { chunks: 0, inline: new SortedKeyArray(NUMBERED_BYTES), loaded: null };
    expect(encode(record(gone))).toEqual(encode(record(null)));
  });

  it('a record that names an unknown incarnation, or ends in the middle, is an error', () => {
    const counter = [{ incarnation: INCARNATIONS[1]!, p: 1, n: 0 }];
    const bytes = encode({ state: { v: 1, updatedAtMs: 1, metrics: [{ members: 0, counter }] }, members: [] });
    expect(() => decodePost(bytes, INCARNATIONS.slice(0, 1))).toThrow(
      'an incarnation that the data directory does not list',
    );
    expect(() => decodePost(bytes.subarray(0, -1), INCARNATIONS)).toThrow('ends within a number');
  });

  it('a record with more chunks than are possible is an error', () => {
    const state = { v: 1, updatedAtMs: 1, metrics: [{ members: 0, counter: [] }] };
    const bytes = encode({ state, members: [locate(0, 2 ** 24 + 1)] });
    expect(() => decodePost(bytes, INCARNATIONS)).toThrow('a record has 16777217 chunks; at most 16777216 can be');
  });

  it('a record gets a location for the members of a metric when these are added', () => {
    const record: PostRecord = { state: { v: 0, updatedAtMs: 0, metrics: [] }, members: [] };
    expect(locateMembers(record, 2)).toMatchObject({ size: 0, chunks: 0, loaded: null, registers: null });
    expect(record.members).toHaveLength(3);
  });
});
