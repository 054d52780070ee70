import { Decoder, Encoder, isPacketValid, type Packet, PacketType } from 'socket.io-parser';
import { MESSAGE_BYTES_MAX, POST_PATTERN } from '../../protocol/limits.js';

export const MESSAGE_TOO_LARGE = `a message has at most ${MESSAGE_BYTES_MAX} bytes`;
/**
 * Engine.IO closes a connection that sends more at once. Larger than a message, because a polling client sends several
 * messages in one request, and so that an oversized message can be rejected.
 */
export const TRANSPORT_BYTES_MAX = 256 * 1024;
/** One request can contain thousands of attempts to connect, each a socket until it is rejected. A stock client makes one. */
const CONNECTS_MAX = 10;
/** Attachments are dropped. A message that announces more of them ends the connection when they arrive. */
const ATTACHMENTS_MAX = 1_000;

/** Stands for the payload of a message that was not decoded. The event can still be acknowledged, with an error. */
export const TOO_LARGE = Symbol('too large');
export const BINARY = Symbol('binary');
/** Stands for the `auth` of an oversized handshake. It has to be an object. */
export const TOO_LARGE_AUTH = Object.freeze({});

/** The start of an event packet: type, attachments, namespace, acknowledgement id, and the event's name. */
const EVENT_HEAD = /^(?:2|5(\d+)-)(?:(\/[^,]{0,64}),)?(\d{1,15})?\["([^"\\]{0,64})"/;
/** `like`, `unlike` and `view` in the JSON of stock clients. They need no parser and no further validation. */
const ACT = new RegExp(
  String.raw`^2(\d{1,15})?\["(like|unlike|view)",\{"post":"(${POST_PATTERN.source.slice(1, -1)})"(?:,"seq":([1-9]\d{0,14}))?\}\]$`,
);
/**
 * The start of an event packet in the only namespace, which may be named: its type, and the id of its acknowledgement. With
 * another namespace, the rest is not JSON.
 */
const EVENT_START = /^2(?:\/,)?(\d{1,15})?(?!\d)/;
/** The start of a packet that connects: type and namespace. */
const CONNECT_HEAD = /^0(?:(\/[^,]{0,64}),)?\{/;

/** Receives a connection's events in order, without socket.io's work for each. */
export interface EventReceiver {
  act(event: Act, post: string, seq: number | undefined, id: number | null): void;
  /** @param args everything that the client sent behind the event's name */
  event(event: string, args: readonly unknown[], id: number | null): void;
}

export interface PacketReceiver extends EventReceiver {
  /** Another packet was received, such as an acknowledgement that was not requested. */
  otherPacket(): void;
}

export type Act = 'like' | 'unlike' | 'view';

/**
 * The id of an event's acknowledgement, as the last argument of events that go through socket.io because their decoder has
 * no receiver. socket.io does not pass the id to listeners.
 */
export class AckArgument {
  constructor(readonly value: number | null) {}
}

/**
 * socket.io's decoder with limits: a message over 16 KiB, or with binary attachments, is not decoded. Its event has a symbol
 * in place of the payload.
 */
export class PacketDecoder extends Decoder {
  /** Receives the events between connecting and disconnecting; `null`: socket.io's listeners receive them. */
  receiver: PacketReceiver | null = null;
  #connects = 0;
  /** Attachments that will arrive and are dropped. */
  #dropping = 0;

  override add(data: unknown): void {
    if (typeof data !== 'string') {
      if (this.#dropping === 0) throw new Error('binary data without an event');
      this.#dropping -= 1;
      return;
    }
    const tooLarge = data.length > MESSAGE_BYTES_MAX / 4 && Buffer.byteLength(data) > MESSAGE_BYTES_MAX;
    if (data.startsWith('6')) throw new Error('this gateway asks for no acknowledgements');
    if (data.startsWith('0') && ++this.#connects > CONNECTS_MAX) throw new Error('too many attempts to connect');
    if (tooLarge && data.startsWith('0')) this.emitReserved('decoded', connectOf(data));
    else if (tooLarge || data.startsWith('5')) this.#pass(this.#eventOf(data, tooLarge));
    else if (!this.#receive(data)) super.add(data);
  }

  override destroy(): void {
    this.receiver = null;
    super.destroy();
  }

  /** @returns whether the packet was an event */
  #receive(data: string): boolean {
    const { receiver } = this;
    const act = receiver === null ? null : ACT.exec(data);
    if (act !== null) {
      const [, id, event, post, seq] = act;
      receiver!.act(event as Act, post!, numberOf(seq), numberOf(id) ?? null);
      return true;
    }
    if (data.startsWith('2')) {
      const start = EVENT_START.exec(data);
      if (start === null) throw new Error('an acknowledgement id has at most 15 digits');
      const [head, id] = start;
      const args = JSON.parse(data.slice(head.length)) as unknown;
      this.#pass({ type: PacketType.EVENT, nsp: '/', data: args, ...(id !== undefined && { id: Number(id) }) });
      return true;
    }
    this.receiver?.otherPacket();
    // Packets behind the one that disconnects have no receiver.
    if (data.startsWith('1')) this.receiver = null;
    return false;
  }

  #pass(packet: Packet): void {
    // Reserved names are those that socket.io itself emits: a client that could send `disconnect` would stay unnoticed.
    if (!isPacketValid(packet)) throw new Error('a reserved event');
    const { id, nsp, type } = packet;
    const [event, ...args] = packet.data as [unknown, ...unknown[]];
    if (this.receiver !== null && nsp === '/') this.receiver.event(String(event), args, id ?? null);
    else this.emitReserved('decoded', { type, nsp, data: [event, ...args, new AckArgument(id ?? null)] });
  }

  #eventOf(data: string, tooLarge: boolean): Packet {
    const head = EVENT_HEAD.exec(data);
    if (head === null) throw new Error('not an event');
    const [, attachments, nsp = '/', id, event] = head;
    const packet: Packet = {
      type: PacketType.EVENT,
      nsp,
      data: [event, tooLarge ? TOO_LARGE : BINARY],
      ...(id !== undefined && { id: Number(id) }),
    };
    this.#dropping = Math.min(Number(attachments ?? 0), ATTACHMENTS_MAX);
    return packet;
  }
}

function connectOf(data: string): Packet {
  const head = CONNECT_HEAD.exec(data);
  if (head === null) throw new Error('not a handshake');
  return { type: PacketType.CONNECT, nsp: head[1] ?? '/', data: TOO_LARGE_AUTH };
}

function numberOf(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}

export const boundedParser = { Encoder, Decoder: PacketDecoder };
