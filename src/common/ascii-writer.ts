import { ByteBuffer } from './byte-buffer.js';

const DIGIT_0 = 0x30;
/** More is needed for a moment only: by what answers a subscription to some hundred posts. */
const BYTES = 64 * 1024;
/** Below that a loop is faster than a call of Node's. */
const LOOP_MAX = 64;

/** A value that writes itself, as ASCII. */
export interface Writable {
  writeTo(writer: AsciiWriter): void;
}

/**
 * Puts JSON together, byte by byte, in memory that is used again: a string of a dozen pieces costs several times as much,
 * to be made, to be copied out, and to be collected.
 */
export class AsciiWriter extends ByteBuffer {
  constructor() {
    super(BYTES);
  }

  /** Characters above 0x7f would come out as others. */
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

  /** Bytes that are ASCII. */
  raw(bytes: Uint8Array): this {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  /** @returns a copy of all that was written, and begins again */
  take(): Buffer {
    const taken = Buffer.allocUnsafe(this.length);
    this.bytes.copy(taken, 0, 0, this.length);
    this.#beginAnew();
    return taken;
  }

  /** @returns what this one writes, while nothing else was written */
  toText(text: Writable): string {
    text.writeTo(this);
    const taken = this.bytes.toString('latin1', 0, this.length);
    this.#beginAnew();
    return taken;
  }

  #beginAnew(): void {
    this.length = 0;
    if (this.bytes.length > BYTES) this.bytes = Buffer.allocUnsafe(BYTES);
  }
}
