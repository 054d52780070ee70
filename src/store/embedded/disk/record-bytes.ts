import { ByteBuffer } from '../../../common/byte-buffer.js';
import { readVarint, VARINT_BYTES_MAX, writeVarint } from '../../../common/varint.js';

/** A buffer whose bytes from `start` to `end` lmdb writes without copying them first. */
type Bounded = Buffer & { start: number; end: number };

const WRITER_BYTES = 65_536;

/** Writes varints and bytes into one buffer, value after value. */
export class ByteWriter extends ByteBuffer {
  #start = 0;

  constructor() {
    super(WRITER_BYTES);
  }

  varint(value: number): this {
    this.reserve(VARINT_BYTES_MAX);
    this.length = writeVarint(this.bytes, this.length, value);
    return this;
  }

  /** @param length how many of the bytes are written */
  raw(bytes: Uint8Array, length = bytes.length): this {
    this.reserve(length);
    const target = this.bytes;
    const at = this.length;
    if (length > COPY_BY_BYTE_MAX) target.set(length === bytes.length ? bytes : bytes.subarray(0, length), at);
    else for (let i = 0; i < length; i++) target[at + i] = bytes[i]!;
    this.length += length;
    return this;
  }

  /** @returns the bytes since the last value. They stay as they are until `reset`, but their bounds only until the next value */
  value(): Bounded {
    const bytes = this.bytes as Bounded;
    bytes.start = this.#start;
    bytes.end = this.length;
    this.#start = this.length;
    return bytes;
  }

  /** To be called when the values are no longer needed: their memory is used again. */
  reset(): void {
    this.#start = 0;
    this.length = 0;
  }

  /** The values before stay in the old buffer, which lmdb holds until it has written them. */
  protected override grow(more: number): void {
    const begun = this.bytes.subarray(this.#start, this.length);
    this.bytes = this.allocate(2 * (this.bytes.length + more));
    this.bytes.set(begun);
    this.#start = 0;
    this.length = begun.length;
  }

  /** Not of Node's pool: lmdb counts `start` from where that begins. */
  protected override allocate(length: number): Bounded {
    return Object.assign(Buffer.allocUnsafeSlow(length), { start: 0, end: 0 });
  }
}

/** Up to this a loop is faster than a view and a call. */
const COPY_BY_BYTE_MAX = 160;

export class ByteReader {
  position = 0;

  constructor(readonly bytes: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.position >= this.bytes.length;
  }

  /** The number of bytes after the current one. */
  get bytesLeft(): number {
    return this.bytes.length - this.position;
  }

  /** @throws RangeError if the bytes end within the number, or it exceeds 2^53 - 1 */
  varint(): number {
    const value = readVarint(this);
    if (value <= Number.MAX_SAFE_INTEGER) return value;
    if (Number.isNaN(value)) throw new RangeError('a record ends within a number');
    throw new RangeError('a record holds a number over 2^53 - 1');
  }

  /** @returns a copy, so that keeping it does not keep the whole record in memory */
  raw(length: number): Uint8Array {
    if (this.position + length > this.bytes.length) throw new RangeError('a record ends within its members');
    const copy = new Uint8Array(length);
    copy.set(this.bytes.subarray(this.position, this.position + length));
    this.position += length;
    return copy;
  }
}

/** @returns a text of this many characters, one a byte, so that keys of tables are in the order of their numbers */
export function encodeBigEndian(value: number, bytes: 2 | 4): string {
  const low = String.fromCharCode((value >>> 8) & 0xff, value & 0xff);
  return bytes === 2 ? low : String.fromCharCode(value >>> 24, (value >>> 16) & 0xff) + low;
}
