import { describe, expect, it } from '@jest/globals';
import type { Replica } from '../../counters/pn-counter.js';
import { NO_KEYS, withKey } from './bytes.js';
import { decodePost, encodePost, memberPlace, type PostRecord } from './post-record.js';

const REPLICAS: readonly Replica[] = [
  { region: 'eu', epoch: 1, nonce: 4_294_967_295 },
  { region: 'us', epoch: 3, nonce: 0 },
];
const EMPTY_PLACE = { size: 0, chunks: 0, inline: NO_KEYS };

function encode(record: PostRecord): Buffer {
  return encodePost(record, (replica) => REPLICAS.indexOf(replica));
}

describe('the record of a post', () => {
  it('is read as it was written', () => {
    const inline = withKey(withKey(NO_KEYS, 0, { hi: 1, lo: 2 }), 1, { hi: 0xffffffff, lo: 0xffffffff });
    const record: PostRecord = {
      state: {
        v: Number.MAX_SAFE_INTEGER,
        updatedAtMs: 1_767_225_600_000,
        metrics: [
          { members: 2, counter: [{ replica: REPLICAS[1]!, p: 5, n: 3 }] },
          { members: 0, counter: REPLICAS.map((replica, i) => ({ replica, p: Number.MAX_SAFE_INTEGER, n: i })) },
          { members: 0, counter: [] },
          { members: 1_000_000, counter: [] },
        ],
      },
      members: [
        { size: 2, chunks: 0, inline },
        EMPTY_PLACE,
        EMPTY_PLACE,
        { size: 1_000_000, chunks: 9, inline: NO_KEYS },
      ],
    };
    expect(decodePost(encode(record), REPLICAS)).toEqual(record);
  });

  it('with likes and views of one region and no members takes about 20 bytes', () => {
    const counter = [{ replica: REPLICAS[0]!, p: 150, n: 0 }];
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

  it('of chunks that have lost all members keeps the chunks', () => {
    const record: PostRecord = {
      state: { v: 9, updatedAtMs: 1, metrics: [{ members: 0, counter: [] }] },
      members: [{ size: 0, chunks: 3, inline: NO_KEYS }],
    };
    expect(decodePost(encode(record), REPLICAS)).toEqual(record);
  });

  it('that names an unknown replica, or ends in the middle, is an error', () => {
    const counter = [{ replica: REPLICAS[1]!, p: 1, n: 0 }];
    const bytes = encode({ state: { v: 1, updatedAtMs: 1, metrics: [{ members: 0, counter }] }, members: [] });
    expect(() => decodePost(bytes, REPLICAS.slice(0, 1))).toThrow('a replica that the data directory does not know');
    expect(() => decodePost(bytes.subarray(0, -1), REPLICAS)).toThrow('ends within a number');
  });

  it('gets a place for the members of a metric when they come', () => {
    const record: PostRecord = { state: { v: 0, updatedAtMs: 0, metrics: [] }, members: [] };
    expect(memberPlace(record, 2)).toEqual(EMPTY_PLACE);
    expect(record.members).toHaveLength(3);
  });
});
