import { ByteBuffer } from '../../common/byte-buffer.js';
import { readVarint, VARINT_BYTES_MAX, writeVarint } from '../../common/varint.js';
import type { Key64 } from '../../counters/ids.js';
import type { Incarnation } from '../../counters/pn-counter.js';

/** The bytes are no message of another region. The text names the wrong field. */
export class WireError extends Error {}

/** First byte of every message. Regions of one deployment read one format only. */
const FORMAT = 5;
/** The last time that a Date can hold. */
export const TIME_MAX = 8.64e15;
const ROOM_BYTES = 1_024;

/** Writes one message: bytes, ASCII and varints. */
export class WireWriter extends ByteBuffer {
  constructor() {
    super(ROOM_BYTES);
    this.byte(FORMAT);
  }

  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  varint(value: number): void {
    this.reserve(VARINT_BYTES_MAX);
    this.length = writeVarint(this.bytes, this.length, value);
  }

  unsigned32(value: number): void {
    this.reserve(4);
    this.length = this.bytes.writeUInt32BE(value, this.length);
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
    this.reserve(text.length);
    this.length += this.bytes.write(text, this.length, 'latin1');
  }

  message(): Buffer {
    return this.bytes.subarray(0, this.length);
  }
}

/** Reads one message. Each call takes the name of its field for the WireError that it throws if the bytes do not fit. */
export class WireReader {
  readonly bytes: Buffer;
  position = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const format = this.byte('format', 0xff);
    if (format === FORMAT) return;
    throw new WireError(
      `format ${format} is not supported (this region reads format ${FORMAT}); run one version in all regions`,
    );
  }

  byte(field: string, max: number): number {
    this.#need(field, 1);
    const value = this.bytes[this.position++]!;
    if (value > max) throw new WireError(`${field} must be at most ${max}`);
    return value;
  }

  varint(field: string, max = Number.MAX_SAFE_INTEGER): number {
    const value = readVarint(this);
    if (value <= max) return value;
    if (Number.isNaN(value)) throw new WireError(`${field}: the message ends within it`);
    throw new WireError(`${field} must be at most ${max}`);
  }

  unsigned32(field: string): number {
    this.#need(field, 4);
    this.position += 4;
    return this.bytes.readUInt32BE(this.position - 4);
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
    const text = this.bytes.toString('latin1', this.position, this.position + length);
    if (!pattern.test(text)) throw new WireError(`${field} must match ${pattern.source}`);
    this.position += length;
    return text;
  }

  /** Rejects a list that is longer than the rest of the message can hold. @param leastBytes of one item */
  list<T>(field: string, leastBytes: number, read: () => T, length = this.varint(field)): T[] {
    if (length * leastBytes > this.bytes.length - this.position) {
      throw new WireError(`${field}: the message ends before the last`);
    }
    const list: T[] = [];
    for (let i = 0; i < length; i++) list.push(read());
    return list;
  }

  end(): void {
    const left = this.bytes.length - this.position;
    if (left > 0) throw new WireError(`the message has ${left} bytes too many`);
  }

  #need(field: string, bytes: number): void {
    if (this.position + bytes > this.bytes.length) throw new WireError(`${field}: the message ends within it`);
  }
}

/** An age is the difference to the latest stamp or time of the message, plus 1. Age 0 stands for the value 0, which means never. */
export function writeAge(writer: WireWriter, value: number, latest: number): void {
  writer.varint(value === 0 ? 0 : latest - value + 1);
}

export function readAge(reader: WireReader, field: string, latest: number): number {
  const age = reader.varint(field, latest);
  return age === 0 ? 0 : latest - age + 1;
}
