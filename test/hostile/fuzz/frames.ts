import fc from 'fast-check';
import { encodeFrame } from '../../support/raw-socket.js';
import { mutated } from './mutations.js';
import { enginePackets } from './packets.js';

const CONTROL_MAX = 130;
const FRAMES_MAX = 6;
const CUTS_MAX = 4;
/** Lengths at which the head of a frame changes its form, and invalid ones. */
const LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 256 * 1024, 256 * 1024 + 1, 2 ** 32, 2 ** 53];

const payload = fc.oneof(
  { weight: 4, arbitrary: mutated(enginePackets.map((text) => Buffer.from(text))) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: CONTROL_MAX }).map((bytes) => Buffer.from(bytes)) },
);

/** Frames of clients, sometimes with one violation. */
const frame = fc
  .record({
    payload,
    opcode: fc.oneof({ weight: 6, arbitrary: fc.constant(1) }, { weight: 2, arbitrary: fc.nat(15) }),
    fin: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.boolean() }),
    rsv1: fc.nat(60).map((roll) => roll === 1),
    masked: fc.nat(60).map((roll) => roll !== 1),
    mask: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
    length: fc.oneof(
      { weight: 30, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constantFrom(...LENGTHS) },
    ),
  })
  .map(({ payload: bytes, length, ...options }) =>
    encodeFrame(bytes, length === undefined ? options : { ...options, length }),
  );

/** Bytes of one connection, cut anywhere. */
export const frames: fc.Arbitrary<readonly Buffer[]> = fc
  .tuple(
    mutated(fc.array(frame, { minLength: 1, maxLength: FRAMES_MAX }).map((list) => Buffer.concat(list))),
    fc.array(fc.nat(4_095), { maxLength: CUTS_MAX }),
  )
  .map(([bytes, cuts]) => {
    const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
    return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
  });
