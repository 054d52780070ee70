import { describe, expect, it } from '@jest/globals';
import type fc from 'fast-check';
import { Decoder, type Packet, PacketType } from 'socket.io-parser';
import { PacketDecoder } from '../../src/gateway/transport/packet-decoder.js';
import { Metrics } from '../../src/counters/metrics.js';
import { WireError } from '../../src/replication/transport/wire-format.js';
import * as lists from '../../src/replication/transport/message-codec.js';
import { decodeDeltas, encodeDeltas } from '../../src/replication/transport/delta-codec.js';
import { readCompressed } from '../../src/store/embedded/disk/prefix-compression.js';
import { decodePost } from '../../src/store/embedded/disk/post-record.js';
import { ReplyDecoder } from '../../src/store/redis/codec/reply-decoder.js';
import { RedisPostRecord } from '../../src/store/redis/codec/redis-post-record.js';
import { decodeChanges, decodeStatus } from '../../src/store/redis/codec/delta-decoder.js';
import { fuzz, SEED } from './fuzz/fuzzing.js';
import { KEPT } from './fuzz/kept-inputs.js';
import { mutated } from './fuzz/mutations.js';
import { packets } from './fuzz/packets.js';
import * as records from './fuzz/records.js';
import * as messages from './fuzz/deltas.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const MESSAGE_BYTES_MAX = 16 * 1024;
/** Longer ids would be ambiguous, because a number holds no more digits exactly. */
const ID_DIGITS_MAX = 15;

const codec = new ReplyDecoder(METRICS, 'eu');

interface Surface {
  readonly name: string;
  readonly count: number;
  readonly input: fc.Arbitrary<Buffer>;
  readonly kept?: readonly Buffer[];
  /** Decodes the bytes completely. */
  readonly decode: (bytes: Buffer) => unknown;
  /** The error that a decoder throws for invalid bytes; any error by default. */
  readonly error?: new (...args: never[]) => Error;
}

/** Decoders for peers: a WireError becomes a BAD_REQUEST that names the field. */
const OF_REGIONS: readonly Surface[] = [
  { name: 'deltas', count: 3_000, input: messages.deltas.map(encodeDeltas), decode: decodeDeltas },
  { name: 'acks', count: 3_000, input: messages.acks.map(lists.encodeAcks), decode: lists.decodeAcks },
  { name: 'digests', count: 2_000, input: messages.digests.map(lists.encodeDigests), decode: lists.decodeDigests },
  {
    name: 'differences',
    count: 2_000,
    input: messages.differences.map(lists.encodeDifferences),
    decode: lists.decodeDifferences,
  },
  { name: 'lists of posts', count: 2_000, input: messages.postLists.map(lists.encodePosts), decode: lists.decodePosts },
].map((one) => ({ ...one, error: WireError }));

/** Decoders for Redis: any error fails the call as if there were no reply. */
const OF_REDIS: readonly Surface[] = [
  {
    name: 'answers to commits',
    count: 3_000,
    input: records.commitReplies,
    kept: KEPT.commitReplies,
    decode: (packed: Buffer) => codec.decodeCommit({ posts: ['a', 'b'], packed }),
  },
  {
    name: 'standings of buckets',
    count: 3_000,
    input: records.standingReplies,
    kept: KEPT.standingReplies,
    decode: decodeStatus,
  },
  {
    name: 'changes of buckets',
    count: 3_000,
    input: records.changesReplies,
    kept: KEPT.changesReplies,
    decode: (bytes: Buffer) => decodeChanges(bytes, 'eu', 0, 0),
  },
  {
    name: 'records in Redis',
    count: 3_000,
    input: records.redisRecords,
    kept: KEPT.redisRecords,
    decode: (bytes: Buffer) => {
      const record = new RedisPostRecord(bytes);
      return [record.ownEntries(records.REPLICAS[0]!), record.remoteEntries(records.REPLICAS)];
    },
  },
  {
    name: 'published counts',
    count: 8_000,
    input: records.publishedTexts.map((text) => Buffer.from(text)),
    kept: KEPT.publishedTexts,
    decode: (bytes: Buffer) => codec.decodePublished('a', bytes.toString()),
  },
];

const ON_DISK: readonly Surface[] = [
  {
    name: 'records on disk',
    count: 5_000,
    input: records.postRecords,
    kept: KEPT.postRecords,
    decode: (bytes: Buffer) => decodePost(bytes, records.REPLICAS).state,
  },
  {
    name: 'chunks on disk',
    count: 5_000,
    input: records.chunks,
    kept: KEPT.chunks,
    decode: (bytes: Buffer) => {
      const entries = readCompressed(bytes);
      // Seven bytes hold more than the largest count; nothing is added to this value.
      return Array.from({ length: entries.size }, (_, i) => [entries.keyAt(i), entries.numberAt(i) % 2 ** 53]);
    },
  },
].map((one) => ({ ...one, error: RangeError }));

/** @throws Error unless the value is a count, a text, or a list or object of these */
function expectCounts(value: unknown): void {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${value} is not a count`);
  } else if (value instanceof Map) {
    for (const one of value.values()) expectCounts(one);
  } else if (typeof value === 'object' && value !== null) {
    for (const one of Object.values(value)) expectCounts(one);
  } else if (value === undefined) throw new Error('a value is missing');
}

describe(`changed bytes (TEST_SEED=${SEED})`, () => {
  it.each([...OF_REGIONS, ...OF_REDIS, ...ON_DISK])(
    '$name with changed bytes are decoded to counts, or rejected by an error of their type',
    ({ count, input, kept = [], decode, error }) => {
      const seen = { decoded: 0, rejected: 0 };
      fuzz(count, mutated(input), kept, (bytes) => {
        const decoded = decodedBy(decode, bytes, error);
        if (decoded === REJECTED) seen.rejected += 1;
        else {
          seen.decoded += 1;
          expectCounts(decoded);
        }
      });
      expect(Math.min(seen.decoded, seen.rejected)).toBeGreaterThan(count / 50);
    },
  );
});

const REJECTED = Symbol('rejected');

function decodedBy(decode: Surface['decode'], bytes: Buffer, error: Surface['error']): unknown {
  try {
    return decode(bytes);
  } catch (thrown) {
    if (error === undefined || thrown instanceof error) return REJECTED;
    throw thrown;
  }
}

/** A decoded event: its name, its arguments, and its acknowledgement id. */
type Event = readonly [name: string, args: readonly unknown[], id: number | null];

function byGateway(packet: string): Event | null {
  let event: Event | null = null;
  const decoder = new PacketDecoder();
  decoder.receiver = {
    act: (name, post, seq, id) => (event = [name, [seq === undefined ? { post } : { post, seq }], id]),
    event: (name, args, id) => (event = [name, args, id]),
    otherPacket: () => undefined,
  };
  try {
    decoder.add(packet);
  } catch {
    return null;
  }
  return event;
}

/** Socket.IO's own rule for events of the namespace `/`: a list that begins with a name. */
function byStock(packet: string): Event | null {
  let event: Event | null = null;
  const decoder = new Decoder();
  decoder.on('decoded', ({ type, nsp, data, id }: Packet) => {
    if (type !== PacketType.EVENT || nsp !== '/' || !Array.isArray(data)) return;
    event = [String(data[0]), data.slice(1), id ?? null];
  });
  try {
    decoder.add(packet);
  } catch {
    return null;
  }
  return event;
}

describe(`packets of Socket.IO (TEST_SEED=${SEED})`, () => {
  it('packets of Socket.IO decode to the same events in the gateway and in the stock decoder', () => {
    let events = 0;
    fuzz(8_000, packets, KEPT.packets, (packet) => {
      const isTooLarge = Buffer.byteLength(packet) > MESSAGE_BYTES_MAX;
      const [, digits = ''] = /^2(?:\/,)?(\d+)/.exec(packet) ?? [];
      const isRefused = isTooLarge || packet.startsWith('5') || digits.length > ID_DIGITS_MAX;
      if (isRefused) return;
      const event = byStock(packet);
      if (event !== null) events += 1;
      // Compared as text, because a comparison of values would recurse into the nested lists.
      expect(JSON.stringify(byGateway(packet))).toBe(JSON.stringify(event));
    });
    expect(events).toBeGreaterThan(1_000);
  });
});
