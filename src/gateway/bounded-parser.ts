import { Decoder, Encoder, type Packet, PacketType } from 'socket.io-parser';

/** The protocol's limit on a message, in bytes. */
export const MESSAGE_BYTES_MAX = 16 * 1024;
/**
 * Engine.IO closes a connection that sends more at once. Larger than a message, since a polling client sends several
 * messages in one request, and so that one that is too large can be answered.
 */
export const TRANSPORT_BYTES_MAX = 256 * 1024;

/** Stands for the payload of a message that was not decoded; its acknowledgement can still be answered. */
export const TOO_LARGE = Symbol('too large');
export const BINARY = Symbol('binary');

/** The start of an event packet: type, attachments, namespace, acknowledgement id, and the event's name. */
const EVENT_HEAD = /^(2|5(\d+)-)(\/[^,]{0,64},)?(\d{1,15})?\["([^"\\]{0,64})"/;

/**
 * socket.io's parser, but a message over 16 KiB, or with binary attachments, is not decoded: its event comes with a
 * symbol in place of the payload.
 */
class BoundedDecoder extends Decoder {
  /** Attachments that are on their way and are dropped. */
  #dropping = 0;

  override add(data: unknown): void {
    if (typeof data !== 'string') {
      if (this.#dropping === 0) throw new Error('binary data without an event');
      this.#dropping -= 1;
      return;
    }
    const tooLarge = data.length > MESSAGE_BYTES_MAX / 4 && Buffer.byteLength(data) > MESSAGE_BYTES_MAX;
    const binary = data.startsWith('5');
    if (data.startsWith('6')) throw new Error('this gateway asks for no acknowledgements');
    if (!tooLarge && !binary) {
      super.add(data);
      return;
    }
    const head = EVENT_HEAD.exec(data);
    if (head === null) throw new Error('not an event');
    const [, , attachments, namespace, id, event] = head;
    this.#dropping = Math.min(Number(attachments ?? 0), 1000);
    const packet: Packet = {
      type: PacketType.EVENT,
      nsp: namespace?.slice(0, -1) ?? '/',
      data: [event, tooLarge ? TOO_LARGE : BINARY],
      ...(id !== undefined && { id: Number(id) }),
    };
    this.emitReserved('decoded', packet);
  }
}

export const boundedParser = { Encoder, Decoder: BoundedDecoder };
