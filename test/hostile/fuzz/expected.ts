import { Decoder, type Packet, PacketType } from 'socket.io-parser';

const POST = /^(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,64}$/;
const MESSAGE_BYTES_MAX = 16 * 1024;
const BY_MAX = 1_000;

const FIELDS: Readonly<Record<string, readonly string[]>> = {
  like: ['post', 'seq'],
  unlike: ['post', 'seq'],
  view: ['post', 'seq'],
  add: ['post', 'metric', 'by', 'seq'],
  set: ['post', 'metric', 'on', 'seq'],
};

/** The effect of a valid operation on a count if it is applied. */
export interface Effect {
  readonly post: string;
  readonly metric: 'likes' | 'views';
  readonly by: number;
}

/** The outcome of a packet by docs/protocol.md, if its connection is open until it is handled. */
export interface Expected {
  /** Its acknowledgement id; `null` if it requests no acknowledgement. */
  readonly id: number | null;
  /** `null` if it is not an operation or has to be rejected. */
  readonly effect: Effect | null;
}

/** Uses the stock parser and the tables of the protocol, without code of the gateway. @returns `null` for other packets */
export function parseExpected(packet: string): Expected | null {
  const decoded = decodedBy(packet);
  if (decoded?.type !== PacketType.EVENT || decoded.nsp !== '/' || !Array.isArray(decoded.data)) return null;
  const effect = Buffer.byteLength(packet) > MESSAGE_BYTES_MAX ? null : parseEffect(decoded.data);
  return { id: decoded.id ?? null, effect };
}

function decodedBy(packet: string): Packet | null {
  let decoded: Packet | null = null;
  const decoder = new Decoder();
  decoder.on('decoded', (one: Packet) => (decoded = one));
  try {
    decoder.add(packet);
  } catch {
    return null;
  }
  return decoded;
}

function parseEffect([name, payload, ...more]: readonly unknown[]): Effect | null {
  if (more.length > 0 || typeof name !== 'string' || !Object.hasOwn(FIELDS, name)) return null;
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return null;
  if (!Object.keys(payload).every((key) => FIELDS[name]!.includes(key))) return null;
  const { post, seq, metric, by, on } = payload as Record<string, unknown>;
  if (typeof post !== 'string' || !POST.test(post) || !isWholeNumber(seq, Number.MAX_SAFE_INTEGER)) return null;
  switch (name) {
    case 'view':
      return { post, metric: 'views', by: 1 };
    case 'add':
      return metric === 'views' && isWholeNumber(by, BY_MAX) ? { post, metric, by: by ?? 1 } : null;
    case 'set':
      return metric === 'likes' && typeof on === 'boolean' ? { post, metric, by: on ? 1 : -1 } : null;
    default:
      return { post, metric: 'likes', by: name === 'like' ? 1 : -1 };
  }
}

/** Accepts a missing value, too. */
function isWholeNumber(value: unknown, max: number): value is number | undefined {
  return value === undefined || (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max);
}
