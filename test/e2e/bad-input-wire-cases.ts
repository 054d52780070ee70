import type { ErrorCode } from '../../src/protocol/errors.js';

/** A packet of Socket.IO that no stock client sends, for `RawSocket.emitWithAck`: the gateway acknowledges it, and the connection stays open. */
export interface BadPacket {
  readonly title: string;
  readonly packet: string;
  readonly attachments?: readonly Buffer[];
  readonly code: ErrorCode;
  /** How the error's message begins. */
  readonly message: string;
}

const MESSAGE_BYTES_MAX = 16_384;
const BYTES = Buffer.from('target');
const SEQ = 'seq must be a whole number from 1 to 9007199254740991';
const POST = 'post must be a string of 1 to 64 characters';
const TOO_LARGE = 'a message has at most 16384 bytes';
const NOT_BINARY = 'the payload must be JSON without binary attachments';
const NO_EVENT = 'unknown event';
const NO_FIELD = ' is not a field';

function bad(title: string, packet: string, message: string, attachments: readonly Buffer[] = []): BadPacket {
  const code = message === TOO_LARGE ? 'PAYLOAD_TOO_LARGE' : 'BAD_REQUEST';
  return { title, packet, message, code, attachments };
}

function like(fields: string): string {
  return `2#["like",{${fields}}]`;
}

function deep(levels: number): string {
  return '['.repeat(levels) + ']'.repeat(levels);
}

/** An event of this many bytes, with an unknown field and the acknowledgement id of one digit that it will get. */
function eventOfBytes(bytes: number): string {
  const [head, tail] = ['2#["like",{"post":"target","x":"', '"}]'];
  return head + 'x'.repeat(bytes - head.length - tail.length) + tail;
}

export const BAD_PACKETS: readonly BadPacket[] = [
  bad(`${MESSAGE_BYTES_MAX} bytes`, eventOfBytes(MESSAGE_BYTES_MAX), `"x"${NO_FIELD}`),
  bad(`${MESSAGE_BYTES_MAX + 1} bytes`, eventOfBytes(MESSAGE_BYTES_MAX + 1), TOO_LARGE),
  bad('1e309 as seq', like('"post":"target","seq":1e309'), SEQ),
  bad('-1e309 as seq', like('"post":"target","seq":-1e309'), SEQ),
  bad('2^53 + 1 as seq', like('"post":"target","seq":9007199254740993'), SEQ),
  bad('400 digits as seq', like(`"post":"target","seq":${'9'.repeat(400)}`), SEQ),
  bad('-0 as seq', like('"post":"target","seq":-0'), SEQ),
  bad(
    '1e309 as by',
    '2#["add",{"post":"target","metric":"views","by":1e309}]',
    'by must be a whole number from 1 to 1000',
  ),
  bad('1e3 and a bit as by', '2#["add",{"post":"target","metric":"views","by":1.001e3}]', 'by must be'),
  bad('1e309 as post', like('"post":1e309'), POST),
  bad('a post given twice', like('"post":"target","post":5'), POST),
  bad('__proto__ as a field', like('"post":"target","__proto__":{"seq":1}'), `"__proto__"${NO_FIELD}`),
  bad('a post in __proto__', like('"__proto__":{"post":"target"}'), POST),
  bad('__proto__ in subscribe', '2#["subscribe",{"posts":["target"],"__proto__":null}]', `"__proto__"${NO_FIELD}`),
  bad('a wrong __proto__ in known', '2#["subscribe",{"posts":["target"],"known":{"__proto__":1}}]', 'known must be'),
  bad('1e309 in known', '2#["subscribe",{"posts":["target"],"known":{"target":["e",1e309]}}]', 'known must be'),
  bad('a post of 8,000 lists', `2#["like",{"post":${deep(8_000)}}]`, POST),
  bad('a payload of 8,000 lists', `2#["view",${deep(8_000)}]`, 'the payload must be one object'),
  bad('a field of 8,000 lists', like(`"post":"target","x":${deep(8_000)}`), `"x"${NO_FIELD}`),
  bad('known of 8,000 lists', `2#["subscribe",{"posts":["target"],"known":${deep(8_000)}}]`, 'known must be'),
  bad('posts of 8,000 lists', `2#["subscribe",{"posts":${deep(8_000)}}]`, 'posts[0] must be'),
  bad('2,500 objects in each other', `2#["like",${'{"a":'.repeat(2_500)}1${'}'.repeat(2_500)}]`, POST),
  bad('20,000 lists', `2#["like",${deep(10_000)}]`, TOO_LARGE),
  bad('half an emoji, escaped', like('"post":"\\ud83d"'), POST),
  bad('a number as event', '2#[1,{"post":"target"}]', NO_EVENT),
  bad('1e309 as event', '2#[1e309,{"post":"target"}]', NO_EVENT),
  bad('an event alone', '2#["like"]', 'an event takes exactly one object as its payload'),
  bad('8,000 payloads', `2#["like"${',1'.repeat(8_000)}]`, 'an event takes exactly one object as its payload'),
  bad('a placeholder without bytes', like('"_placeholder":true,"num":0'), POST),
  bad('one attachment', '51-#["like",{"_placeholder":true,"num":0}]', NOT_BINARY, [BYTES]),
  bad('two attachments', '52-#["like",{"post":{"_placeholder":true,"num":1}}]', NOT_BINARY, [BYTES, BYTES]),
  bad('no attachments, where some may be', '50-#["like",{"post":"target"}]', NOT_BINARY),
  bad('a thousand attachments that never come', '51000-#["view",{"post":"target"}]', NOT_BINARY),
  bad('10^30 attachments', `5${'9'.repeat(30)}-#["like",{"post":"target"}]`, NOT_BINARY),
  bad('an attachment and 20,000 characters', `51-#["like","${'x'.repeat(20_000)}"]`, TOO_LARGE, [BYTES]),
  bad('a broken text of 20,000 characters', `2#["like",${'x'.repeat(20_000)}`, TOO_LARGE),
];

/** Packets of Engine.IO that break the protocol, so that no acknowledgement is possible: the gateway disconnects. */
export const BREAKING: readonly (readonly [string, string])[] = [
  ['NaN, which is not JSON', '42["like",NaN]'],
  ['NaN as seq', '421["like",{"post":"target","seq":NaN}]'],
  ['Infinity as seq', '421["like",{"post":"target","seq":Infinity}]'],
  ['a hexadecimal seq', '421["like",{"post":"target","seq":0x1}]'],
  ['half a message', '421["like",{"post":"targ'],
  ['text behind a message', '421["like",{"post":"target"}]]'],
  ['an event without a list', '421{"post":"target"}'],
  ['an empty list', '421[]'],
  ['null as event', '421[null,{"post":"target"}]'],
  ['an object as event', '421[{"post":"target"}]'],
  ['nothing but the type of an event', '42x'],
  ['an event that socket.io reserves: connect', '421["connect",{}]'],
  ['an event that socket.io reserves: disconnect', '421["disconnect",{}]'],
  ['an event that socket.io reserves: disconnecting', '421["disconnecting",{}]'],
  ['an event that socket.io reserves: newListener', '421["newListener",{}]'],
  ['the same with bytes', '451-1["disconnect",{"_placeholder":true,"num":0}]'],
  ['the same in 20,000 bytes', `421["disconnect","${'x'.repeat(20_000)}"]`],
  ['an event of 20,000 bytes that is only a name', `421["${'x'.repeat(20_000)}"]`],
  ['another namespace', '42/admin,["like",{"post":"target"}]'],
  ['another namespace in 20,000 bytes', `42/admin,["like","${'x'.repeat(20_000)}"]`],
  ['another namespace with bytes', '451-/admin,["like",{"_placeholder":true,"num":0}]'],
  ['an acknowledgement that is an object', '431{}'],
  ['an acknowledgement with bytes', '461-1[{"_placeholder":true,"num":0}]'],
  ['an acknowledgement of 20,000 bytes', `431["${'x'.repeat(20_000)}"]`],
  ['a rejection', '44{"message":"no"}'],
  ['attachments without a number', '45-["like",{"post":"target"}]'],
  ['a negative number of attachments', '45-1-["like",{"post":"target"}]'],
  ['an endless number of attachments', `45${'1'.repeat(1_000)}`],
  ['bytes in Base64 without an event', 'bAAAA'],
  ['an empty message', '4'],
  ['an unknown type of Socket.IO', '47["like",{"post":"target"}]'],
  ['a letter for a type of Socket.IO', '4x'],
  ['an unknown type of Engine.IO', '7'],
  ['a letter for a type of Engine.IO', 'x["like",{"post":"target"}]'],
  ['an empty packet', ''],
  ['a ping, which only the gateway sends', '2'],
  ['a second handshake', '40{}'],
  ['a packet that disconnects', '41'],
  ['200,000 digits', `42${'1'.repeat(200_000)}`],
  ['200,000 opening brackets', `42${'['.repeat(200_000)}`],
];

/** Valid packets without a meaning for the gateway, and without an acknowledgement. */
export const IGNORED: readonly (readonly [string, string])[] = [
  ['a pong without a ping', '3'],
  ['a pong with text', '3probe'],
  ['a packet that opens', '0{"sid":"x"}'],
  ['an upgrade packet without a probe', '5'],
  ['a noop packet', '6'],
  ['an acknowledgement without an event', '430[{"ok":true}]'],
  ['an acknowledgement without a number', '43["like",{"post":"target"}]'],
  ['an acknowledgement numbered with 30 digits', `43${'9'.repeat(30)}[]`],
];
