import { AsciiWriter, type Writable } from '../../common/ascii-writer.js';

const TEXT = 0x81;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
/** The size of most frame headers: two bytes, and two of length. */
const HEAD_BYTES = 4;

/** Writes WebSocket frames as servers send them: final, text, without a mask. RFC 6455, section 5.2. */
export class WsFrameWriter extends AsciiWriter {
  /** Writes a frame with `text`, a string or written by its object, between two other texts. */
  frame(before: string, text: string | Writable, after = ''): void {
    this.reserve(HEAD_BYTES);
    const start = this.length;
    this.length += HEAD_BYTES;
    this.text(before);
    if (typeof text === 'string') this.text(text);
    else text.writeTo(this);
    this.text(after);
    this.#begin(start, this.length - start - HEAD_BYTES);
  }

  /** Writes the header of a frame whose text starts HEAD_BYTES behind `start`. */
  #begin(start: number, length: number): void {
    if (length < LENGTH_16) this.#moveText(start, length, 2);
    else if (length >= 2 ** 16) this.#moveText(start, length, 10);
    const { bytes } = this;
    bytes[start] = TEXT;
    if (length < LENGTH_16) bytes[start + 1] = length;
    else if (length < 2 ** 16) {
      bytes[start + 1] = LENGTH_16;
      bytes[start + 2] = length >>> 8;
      bytes[start + 3] = length & 0xff;
    } else {
      bytes[start + 1] = LENGTH_64;
      bytes.writeBigUInt64BE(BigInt(length), start + 2);
    }
  }

  #moveText(start: number, length: number, headBytes: number): void {
    this.reserve(headBytes);
    this.bytes.copyWithin(start + headBytes, start + HEAD_BYTES, start + HEAD_BYTES + length);
    this.length = start + headBytes + length;
  }
}
