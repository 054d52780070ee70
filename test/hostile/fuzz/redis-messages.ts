import fc from 'fast-check';
import { mostly, objectText, oddJson } from './json-texts.js';
import { mutated } from './mutations.js';
import { publishedTexts } from './records.js';

/** Types of socket.io-adapter's messages between gateways, except the one that disconnects all. */
const TYPES = ['1', '2', '3', '3', '3', '3', '4', '5', '7', '8', '9', '10', '11', '12', '99'];

const mine = fc.constant('["mine",{"post":"fuzz","metric":"likes","on":true}]');
const packet = objectText([
  ['type', 10, fc.constantFrom('2', '2', '2', '0', '1', '3', '4', '5', '6')],
  ['data', 10, mine],
  ['nsp', 5, fc.constant('"/"')],
  ['id', 1, fc.constant('1')],
]);
const options = objectText([
  ['rooms', 10, fc.constantFrom('["nobody"]', '[]', '["actor:0000000000000000"]')],
  ['except', 9, fc.constantFrom('[]', '["x"]')],
  ['flags', 5, fc.constantFrom('{}', '{"volatile":true}', '{"timeout":1}')],
]);
const data = objectText([
  ['packet', 9, packet],
  ['opts', 9, options],
  ['requestId', 1, fc.constant('"1"')],
  ['rooms', 1, fc.constant('["r"]')],
]);

/** Messages between the socket.io servers of gateways. */
const adapterMessage = objectText([
  ['uid', 10, fc.constant('"0123456789abcdef"')],
  ['nsp', 10, fc.constant('"/"')],
  ['type', 10, fc.constantFrom(...TYPES)],
  ['data', 10, data],
]);

/** A message, and its channel modulo the number of channels. */
export const redisMessages: fc.Arbitrary<{ readonly channel: number; readonly message: Buffer }> = fc.record({
  channel: fc.nat(255),
  message: fc.oneof(
    { weight: 4, arbitrary: mutated(publishedTexts.map((text) => Buffer.from(text))) },
    { weight: 4, arbitrary: mutated(adapterMessage.map((text) => Buffer.from(text))) },
    { weight: 1, arbitrary: mostly(oddJson).map((text) => Buffer.from(text)) },
    // Valid msgpack at most.
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)) },
  ),
});
