import fc from 'fast-check';
import { type Field, listText, mostly, objectText, oddJson } from './json-texts.js';
import { mutated, mutatedText } from './mutations.js';

/** Valid packets name these posts. */
export const POSTS = ['fuzz', 'fuzz:1', '__proto__', 'constructor', '-9223372036854775808', 'z'.repeat(64)];

/** Enough that two of one connection seldom repeat. */
const ID_MAX = 999_999;

const post = fc.constantFrom(...POSTS).map((id) => `"${id}"`);
/** Unordered: some are at or below the session's last seq, so they are duplicates. */
const seq = fc.integer({ min: 1, max: 400 }).map(String);
const version = fc.nat(1_000).map((v) => `["local.1.0",${v}]`);
const known = fc
  .array(fc.tuple(post, mostly(version)), { maxLength: 3 })
  .map((pairs) => `{${pairs.map(([id, value]) => `${id}:${value}`).join(',')}}`);

const POST: Field = ['post', 10, post];
const SEQ: Field = ['seq', 4, seq];
const LIST: Field = ['posts', 10, listText(mostly(post), 4)];

const PAYLOADS: Readonly<Record<string, readonly Field[]>> = {
  subscribe: [LIST, ['known', 3, known]],
  unsubscribe: [LIST],
  like: [POST, SEQ],
  unlike: [POST, SEQ],
  view: [POST, SEQ],
  add: [POST, SEQ, ['metric', 10, fc.constant('"views"')], ['by', 5, fc.integer({ min: 1, max: 1_000 }).map(String)]],
  set: [POST, SEQ, ['metric', 10, fc.constant('"likes"')], ['on', 10, fc.constantFrom('true', 'false')]],
};

const ODD_NAMES = ['connect', 'disconnect', 'error', 'counts', 'bye', 'mine', '__proto__', 'toString', 'LIKE', ''];

const request = fc
  .constantFrom(...Object.keys(PAYLOADS))
  .chain((name) => fc.tuple(fc.constant(`"${name}"`), mostly(objectText(PAYLOADS[name]!))));
const oddRequest = fc.tuple(
  fc.oneof(
    fc.constantFrom(...ODD_NAMES).map((name) => JSON.stringify(name)),
    oddJson,
  ),
  mostly(objectText([POST])),
);
/** Name of an event and its payloads, usually one. */
const list = fc
  .tuple(
    fc.oneof({ weight: 9, arbitrary: request }, { weight: 1, arbitrary: oddRequest }),
    fc.oneof({ weight: 19, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(oddJson, { maxLength: 3 }) }),
  )
  .map(([[name, payload], more]) => `[${[name, payload, ...more].join(',')}]`);

const id = fc.oneof(
  { weight: 15, arbitrary: fc.noBias(fc.nat(ID_MAX)).map(String) },
  { weight: 1, arbitrary: fc.constantFrom('', '9'.repeat(30), '00', '-1', '1e3', '9007199254740993') },
);

/** A regular packet of Socket.IO: an event that requests an acknowledgement. */
const event = fc.tuple(id, list).map(([number, text]) => `2${number}${text}`);

/** Packets that end the connection, connect to another namespace, announce attachments, or have no meaning here. */
const other = fc.tuple(
  fc.constantFrom('0', '1', '2', '3', '4', '5', '51-', '50-', '51000-', '5-', '6', '61-', '7', 'x', ''),
  fc.constantFrom('', '', '/,', '/admin,', `/${'n'.repeat(70)},`, '/?a=b,', ','),
  id,
  mostly(list),
);

const packet = fc.oneof(
  { weight: 30, arbitrary: event },
  { weight: 1, arbitrary: other.map((pieces) => pieces.join('')) },
);

/** Nine of ten are whole, because most cut packets end their connection and drop the following ones. */
export const packets: fc.Arbitrary<string> = fc.oneof(
  { weight: 9, arbitrary: packet },
  { weight: 1, arbitrary: mutatedText(packet) },
);

const SEPARATOR = '\x1e';
const BODY_MAX = 6;

/** Packets of Engine.IO, among them those of Socket.IO. */
export const enginePackets: fc.Arbitrary<string> = fc.oneof(
  { weight: 20, arbitrary: packets.map((text) => `4${text}`) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('3', '3probe', '0{"sid":"x"}', '6', '5', '2', '1', '7', '', 'bAAAA', 'b!!!!', '4'),
  },
);

/** Bodies of long-polling: packets with a separator between them. */
export const bodies: fc.Arbitrary<Buffer> = mutated(
  fc.array(enginePackets, { maxLength: BODY_MAX }).map((list) => Buffer.from(list.join(SEPARATOR))),
);
