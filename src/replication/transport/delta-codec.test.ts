import { describe, expect, it } from '@jest/globals';
import { RandomDeltas } from '../../../test/support/random-deltas.js';
import { Random } from '../../../test/support/random.js';
import type { Delta } from '../../counters/replication/delta.js';
import { firstStampAt } from '../../counters/replication/hybrid-clock.js';
import { WireError } from './wire-format.js';
import {
  decodeDifferences,
  decodeDigests,
  decodePosts,
  decodeAcks,
  decodeOperations,
  decodeOutcomes,
  decodeSettings,
  encodeOperations,
  encodeOutcomes,
  encodeSettings,
  encodeDifferences,
  encodeDigests,
  encodePosts,
  encodeAcks,
} from './message-codec.js';
import { decodeDeltas, encodeDeltas } from './delta-codec.js';

const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const RUNS = 60 * SCALE;
const SEED = 20_260_101;
const FORMAT = 5;
/** Applied, a duplicate, elsewhere, unchanged; on, and an option put off. */
const OUTCOMES = [0, 1, 2, 3, 5, 6, 13 + 32 * 7, 17, 18];

interface Message {
  readonly name: string;
  readonly encode: (random: Random) => { readonly value: unknown; readonly bytes: Buffer };
  readonly decode: (bytes: Uint8Array) => unknown;
}

function message<T>(
  name: string,
  make: (deltas: RandomDeltas, random: Random) => T,
  encode: (value: T) => Buffer,
  decode: (bytes: Uint8Array) => T,
): Message {
  return {
    name,
    encode(random) {
      const value = make(new RandomDeltas(random), random);
      return { value, bytes: encode(value) };
    },
    decode,
  };
}

function list<T>(random: Random, make: () => T): T[] {
  return Array.from({ length: random.below(6) }, make);
}

const MESSAGES: readonly Message[] = [
  message('deltas', (make) => make.list(), encodeDeltas, decodeDeltas),
  message('acks', (make, random) => list(random, () => make.ack()), encodeAcks, decodeAcks),
  message(
    'digests',
    (make, random) =>
      list(random, () => {
        const [bucket, beforeMs] = [make.number(4096), make.number(2 ** 41)];
        return { bucket, beforeMs, leaves: list(random, () => make.number(2 ** 32)) };
      }),
    encodeDigests,
    decodeDigests,
  ),
  message(
    'differences',
    (make, random) => list(random, () => ({ bucket: make.number(4096), leaves: list(random, () => make.number(16)) })),
    encodeDifferences,
    decodeDifferences,
  ),
  message(
    'operations',
    (make, random) =>
      list(random, () => {
        const kind = random.pick(['add', 'set', 'adjust', 'visit'] as const);
        const about = { post: `p${make.number(99)}`, metric: random.below(16), kind };
        const value = kind === 'adjust' ? random.pick([-1, 1]) : make.number(1_000);
        const actor = random.chance(0.5) ? { hi: make.number(2 ** 32), lo: make.number(2 ** 32) } : null;
        const session = { hi: make.number(2 ** 32), lo: make.number(2 ** 32) };
        const visit = kind === 'visit' ? { atS: make.number(2 ** 40) } : {};
        return {
          ...about,
          value,
          actor,
          session,
          seq: make.number(2 ** 50),
          ...visit,
          isForwarded: true as const,
          hops: 1,
        };
      }),
    encodeOperations,
    decodeOperations,
  ),
  message('outcomes', (_make, random) => list(random, () => random.pick(OUTCOMES)), encodeOutcomes, decodeOutcomes),
  message('settings', (_make, random) => ({ hasLog: random.chance(0.5) }), encodeSettings, decodeSettings),
  message('posts', (make, random) => list(random, () => make.post()), encodePosts, decodePosts),
];

describe.each(MESSAGES)('messages of $name', ({ encode, decode }) => {
  it(`messages are decoded as they were encoded (seed ${SEED})`, () => {
    const random = new Random(SEED);
    for (let i = 0; i < RUNS; i++) {
      const { value, bytes } = encode(random);
      expect(decode(bytes)).toEqual(value);
    }
  });

  it(`messages that end early or late are a WireError (seed ${SEED})`, () => {
    const random = new Random(SEED);
    for (let i = 0; i < 10 * SCALE; i++) {
      const { bytes } = encode(random);
      const wrong = Array.from(bytes.keys(), (length) => bytes.subarray(0, length));
      wrong.push(Buffer.concat([bytes, Buffer.of(0)]));
      expect(wrong.filter((one) => isDecoded(decode, one))).toEqual([]);
    }
  });

  it(`messages with changed bytes are decoded or a WireError, and nothing else (seed ${SEED})`, () => {
    const random = new Random(SEED);
    for (let i = 0; i < 10 * RUNS; i++) {
      const { bytes } = encode(random);
      for (let change = 0; change <= random.below(4); change++) bytes[random.below(bytes.length)] = random.below(256);
      isDecoded(decode, bytes);
    }
  });

  it(`random bytes are decoded or a WireError, and nothing else (seed ${SEED})`, () => {
    const random = new Random(SEED);
    for (let i = 0; i < 10 * RUNS; i++) {
      const bytes = Buffer.from(Array.from({ length: random.below(200) }, () => random.below(256)));
      if (random.chance(0.9)) bytes[0] = FORMAT;
      isDecoded(decode, bytes);
    }
  });
});

/** Whether the bytes are decoded. @throws any error but a WireError of one line */
function isDecoded(decode: Message['decode'], bytes: Uint8Array): boolean {
  try {
    decode(bytes);
    return true;
  } catch (error) {
    if (!(error instanceof WireError) || !/^[\x20-\x7e]+$/.test(error.message)) throw error;
    return false;
  }
}

/** Format, latest stamp and time, and one incarnation: eu, 0, 0. */
const EU = [5, 0, 0, 1, 2, 0x65, 0x75, 0, 0];
const WALL_MS = Date.UTC(2026, 0, 1);
const NOW = firstStampAt(WALL_MS);

/** A delta of one bucket, 0.1 s after the last one: one view of each post. */
function changes(posts: number): Delta {
  const source = { region: 'eu', epoch: 7, nonce: 4_000_000_000 };
  return {
    kind: 'changes',
    bucket: 3,
    source,
    startedAtStamp: firstStampAt(WALL_MS - 1e9),
    predecessors: [],
    after: firstStampAt(WALL_MS - 200),
    upTo: NOW,
    ackedUpTo: firstStampAt(WALL_MS - 300),
    stableStamp: firstStampAt(WALL_MS - 400),
    posts: Array.from({ length: posts }, (_, i) => ({
      post: `post-${String(i).padStart(5, '0')}`,
      updatedAtMs: WALL_MS - (i % 100),
      entries: [{ metric: 1, incarnation: source, p: 100_000 + i, n: 0 }],
      registers: [],
      members: [],
    })),
    fullSyncReceiver: null,
  };
}

describe('the encoding', () => {
  it('a changed post takes about 18 bytes, and less than 36 if it is the only one of its bucket', () => {
    expect(encodeDeltas([changes(1_000)]).length / 1_000).toBeLessThan(19);
    const some = Array.from({ length: 64 }, (_, bucket) => ({ ...changes(1), bucket }));
    expect(encodeDeltas(some).length / 64).toBeLessThan(36);
  });

  it("an actor's toggle takes about 14 bytes besides those of its post", () => {
    const registers = Array.from({ length: 1_000 }, (_, lo) => {
      return { metric: 0, actor: { hi: 4_000_000_000 - lo, lo }, stamp: NOW - 8_192 * (lo % 100), on: true };
    });
    const [post] = changes(1).posts;
    const bytes = encodeDeltas([{ ...changes(0), posts: [{ ...post!, registers }] }]).length;
    expect(bytes / 1_000).toBeLessThan(14);
  });

  it.each([
    ['format 4 is not supported (this region reads format 5); run one version in all regions', [4]],
    ['incarnations: the message ends before the last', [5, 0, 0, 200, 1]],
    ['region must match', [5, 0, 0, 1, 2, 0x45, 0x55, 0, 0]],
    ['latest stamp must be at most 9007199254740991', [5, ...new Array<number>(9).fill(0xff)]],
    ['incarnation of a source must be at most 0', [...EU, 1, 1, 0, 0]],
    ['startedAtStamp must be at most 0', [...EU, 1, 0, 1, 0]],
    ['source must be at most 0', [...EU, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]],
    ['upTo must be at most 0', [...EU, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]],
    ['kind must be at most 7', [...EU, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0]],
    ['the message has 1 bytes too many', [5, 0, 0, 0, 0, 0, 0]],
  ])('a WireError names the wrong field: %s', (problem, bytes) => {
    expect(() => decodeDeltas(Buffer.from(bytes))).toThrow(problem);
  });

  it('nothing is allocated for a list that is longer than its message', () => {
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 1_000; i++) {
      expect(() => decodePosts(Buffer.from([5, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0x61]))).toThrow(WireError);
    }
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(2 ** 27);
  });
});

it.each([
  [7, 'outcome must not be applied and a duplicate'],
  [1 + 32, 'outcome must name an option only where one was put off'],
])('an outcome that no operation has, %d, is a WireError', (outcome, problem) => {
  expect(() => decodeOutcomes(encodeOutcomes([1, outcome]))).toThrow(problem);
});
