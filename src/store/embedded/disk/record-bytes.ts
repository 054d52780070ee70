import { ByteBuffer } from '../../../common/byte-buffer.js';
import { readVarint, VARINT_BYTES_MAX, writeVarint } from '../../../common/varint.js';

/** A buffer of which lmdb writes the bytes from `start` to `end`, without copying them first. */
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

  /** @param length of the bytes, as many as are meant */
  raw(bytes: Uint8Array, length = bytes.length): this {
    this.reserve(length);
    const target = this.bytes;
    const at = this.length;
    if (length > COPY_BY_BYTE_MAX) target.set(length === bytes.length ? bytes : bytes.subarray(0, length), at);
    else for (let i = 0; i < length; i++) target[at + i] = bytes[i]!;
    this.length += length;
    return this;
  }

  /** The bytes that were written since the last value. They stay as they are until `reset`, but their bounds only until the next value. */
  value(): Bounded {
    const bytes = this.bytes as Bounded;
    bytes.start = this.#start;
    bytes.end = this.length;
    this.#start = this.length;
    return bytes;
  }

  /** The values are no longer needed: their bytes are used again. */
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

/** Up to this a loop is faster than the view and the call that it takes otherwise. */
const COPY_BY_BYTE_MAX = 160;

export class ByteReader {
  position = 0;

  constructor(readonly bytes: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.position >= this.bytes.length;
  }

  /** How many bytes were not read yet. */
  get bytesLeft(): number {
    return this.bytes.length - this.position;
  }

  /** @throws RangeError where the bytes end in the middle, or the number exceeds 2^53 - 1. */
  varint(): number {
    const value = readVarint(this);
    if (value <= Number.MAX_SAFE_INTEGER) return value;
    if (Number.isNaN(value)) throw new RangeError('a record ends within a number');
    throw new RangeError('a record holds a number over 2^53 - 1');
  }

  /** A copy: whoever keeps it does not keep the whole record. */
  raw(length: number): Uint8Array {
    if (this.position + length > this.bytes.length) throw new RangeError('a record ends within its members');
    const copy = new Uint8Array(length);
    copy.set(this.bytes.subarray(this.position, this.position + length));
    this.position += length;
    return copy;
  }
}

/** As text of this many characters, one a byte: keys of tables then are in the order of their numbers. */
export function encodeBigEndian(value: number, bytes: 2 | 4): string {
  const low = String.fromCharCode((value >>> 8) & 0xff, value & 0xff);
  return bytes === 2 ? low : String.fromCharCode(value >>> 24, (value >>> 16) & 0xff) + low;
}
