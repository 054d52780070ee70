import { ByteBuffer } from './byte-buffer.js';

const DIGIT_0 = 0x30;
/** Only the acknowledgement of a subscription to some hundred posts needs more, for a moment. */
const BYTES = 64 * 1024;
/** Up to this length a loop is faster than a call of Node's. */
const LOOP_MAX = 64;

/** A value that writes itself, as ASCII. */
export interface Writable {
  writeTo(writer: AsciiWriter): void;
}

/**
 * Writes JSON, byte by byte, into memory that is reused: a string of a dozen pieces costs several times as much to make, to copy
 * and to collect.
 */
export class AsciiWriter extends ByteBuffer {
  constructor() {
    super(BYTES);
  }

  /** @param text ASCII: other characters would become different ones */
  text(text: string): this {
    this.reserve(text.length);
    if (text.length > LOOP_MAX) this.length += this.bytes.write(text, this.length, 'latin1');
    else for (let i = 0; i < text.length; i++) this.bytes[this.length++] = text.charCodeAt(i);
    return this;
  }

  /** @param value an integer, 0 to 2^53 - 1 */
  integer(value: number): this {
    let digits = 1;
    for (let power = 10; power <= value; power *= 10) digits += 1;
    this.reserve(digits);
    this.length += digits;
    for (let at = this.length - 1, left = value; digits > 0; digits--, at--) {
      const rest = Math.floor(left / 10);
      this.bytes[at] = DIGIT_0 + (left - 10 * rest);
      left = rest;
    }
    return this;
  }

  /** @param bytes ASCII */
  raw(bytes: Uint8Array): this {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  /** @returns a copy of everything that was written, and empties the writer */
  take(): Buffer {
    const taken = Buffer.allocUnsafe(this.length);
    this.bytes.copy(taken, 0, 0, this.length);
    this.#reset();
    return taken;
  }

  /** The text of a value; the writer must be empty. */
  toText(value: Writable): string {
    value.writeTo(this);
    const taken = this.bytes.toString('latin1', 0, this.length);
    this.#reset();
    return taken;
  }

  #reset(): void {
    this.length = 0;
    if (this.bytes.length > BYTES) this.bytes = Buffer.allocUnsafe(BYTES);
  }
}
