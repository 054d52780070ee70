import type { Key64 } from '../../counters/ids.js';
import type { Incarnation } from '../../counters/pn-counter.js';

/** What came is not a message of another region; says which field is wrong. */
export class WireError extends Error {}

/** First byte of every message. Regions of one deployment read one format only. */
const FORMAT = 4;
const ROOM_BYTES = 1_024;

/** Writes one message: bytes, ASCII, and unsigned LEB128 numbers (7 bits a byte, low first; DWARF 4, section 7.6). */
export class WireWriter {
  #bytes = Buffer.allocUnsafe(ROOM_BYTES);
  #at = 0;

  constructor() {
    this.byte(FORMAT);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  /** Up to 2^53 - 1, in 1 to 8 bytes. */
  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest > 0x7f) {
      // Over 2^31 the bitwise operators would cut the number off.
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = rest < 0x80000000 ? rest >>> 7 : Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  unsigned32(value: number): void {
    this.#reserve(4);
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
  }

  key({ hi, lo }: Key64): void {
    this.unsigned32(hi);
    this.unsigned32(lo);
  }

  incarnation({ epoch, nonce }: Incarnation): void {
    this.varint(epoch);
    this.varint(nonce);
  }

  /** ASCII of at most 127 characters. */
  text(text: string): void {
    this.byte(text.length);
    this.#reserve(text.length);
    this.#at += this.#bytes.write(text, this.#at, 'latin1');
  }

  message(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(2 * (this.#bytes.length + more));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

/** Reads one message. Each call names its field, for the WireError that it throws where the bytes are no such thing. */
export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const format = this.byte('format', 0xff);
    if (format === FORMAT) return;
    throw new WireError(
      `format ${format} is not supported (this region reads format ${FORMAT}); run one version in all regions`,
    );
  }

  byte(field: string, max: number): number {
    this.#need(field, 1);
    const value = this.#bytes[this.#at++]!;
    if (value > max) throw new WireError(`${field} must be at most ${max}`);
    return value;
  }

  varint(field: string, max = Number.MAX_SAFE_INTEGER): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new WireError(`${field}: the message ends within it`);
      value += (byte & 0x7f) * scale;
      if (value > max || scale > 2 ** 49) throw new WireError(`${field} must be at most ${max}`);
      if (byte < 0x80) return value;
    }
  }

  unsigned32(field: string): number {
    this.#need(field, 4);
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  key(field: string): Key64 {
    return { hi: this.unsigned32(field), lo: this.unsigned32(field) };
  }

  incarnation(field: string): Incarnation {
    return { epoch: this.varint(`epoch of ${field}`), nonce: this.varint(`nonce of ${field}`) };
  }

  text(field: string, pattern: RegExp): string {
    const length = this.byte(field, 127);
    this.#need(field, length);
    const text = this.#bytes.toString('latin1', this.#at, this.#at + length);
    if (!pattern.test(text)) throw new WireError(`${field} must match ${pattern.source}`);
    this.#at += length;
    return text;
  }

  /** As many as are announced: no more than the rest of the message has room for. @param leastBytes of one */
  list<T>(field: string, leastBytes: number, read: () => T, length = this.varint(field)): T[] {
    if (length * leastBytes > this.#bytes.length - this.#at) {
      throw new WireError(`${field}: the message ends before the last`);
    }
    const list: T[] = [];
    for (let i = 0; i < length; i++) list.push(read());
    return list;
  }

  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw new WireError(`the message has ${left} bytes too many`);
  }

  #need(field: string, bytes: number): void {
    if (this.#at + bytes > this.#bytes.length) throw new WireError(`${field}: the message ends within it`);
  }
}
