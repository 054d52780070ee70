/** A buffer of which lmdb writes the bytes from `start` to `end`, without copying them first. */
type Bounded = Buffer & { start: number; end: number };

const WRITER_BYTES = 65_536;

/**
 * Writes unsigned LEB128 numbers (7 bits a byte, low first; DWARF 4, section 7.6) and bytes into one buffer, value after
 * value. Numbers up to 2^53 - 1 take 1 to 8 bytes.
 */
export class ByteWriter {
  #bytes = bounded(WRITER_BYTES);
  #start = 0;
  #at = 0;

  varint(value: number): this {
    this.#reserve(8);
    let rest = value;
    while (rest > 0x7f) {
      // Over 2^31 the bitwise operators would cut the number off.
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = rest < 0x80000000 ? rest >>> 7 : Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
    return this;
  }

  /** @param length of the bytes, as many as are meant */
  raw(bytes: Uint8Array, length = bytes.length): this {
    this.#reserve(length);
    const target = this.#bytes;
    const at = this.#at;
    if (length > COPY_BY_BYTE_MAX) target.set(length === bytes.length ? bytes : bytes.subarray(0, length), at);
    else for (let i = 0; i < length; i++) target[at + i] = bytes[i]!;
    this.#at += length;
    return this;
  }

  /** The bytes that were written since the last value. They stay as they are until `reset`, but their bounds only until the next value. */
  value(): Bounded {
    this.#bytes.start = this.#start;
    this.#bytes.end = this.#at;
    this.#start = this.#at;
    return this.#bytes;
  }

  /** The values are no longer needed: their bytes are used again. */
  reset(): void {
    this.#start = 0;
    this.#at = 0;
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    // The values before stay in the old buffer, which lmdb holds until it has written them.
    const begun = this.#bytes.subarray(this.#start, this.#at);
    const larger = bounded(2 * (this.#bytes.length + more));
    larger.set(begun);
    this.#bytes = larger;
    this.#start = 0;
    this.#at = begun.length;
  }
}

/** The scale of the eighth byte, which is the last one of a number up to 2^53 - 1. */
const SCALE_MAX = 2 ** 49;
/** Up to this a loop is faster than the view and the call that it takes otherwise. */
const COPY_BY_BYTE_MAX = 160;

function bounded(length: number): Bounded {
  // Not of Node's pool: lmdb counts `start` from where that begins.
  return Object.assign(Buffer.allocUnsafeSlow(length), { start: 0, end: 0 });
}

export class ByteReader {
  #at = 0;

  constructor(readonly bytes: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.#at >= this.bytes.length;
  }

  /** How many bytes were not read yet. */
  get bytesLeft(): number {
    return this.bytes.length - this.#at;
  }

  /** @throws RangeError where the bytes end in the middle, or the number exceeds 2^53 - 1. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.bytes[this.#at++];
      if (byte === undefined) throw new RangeError('a record ends within a number');
      value += (byte & 0x7f) * scale;
      // Zeros behind the eighth byte add nothing, until the scale is infinite.
      if (value > Number.MAX_SAFE_INTEGER || scale > SCALE_MAX) {
        throw new RangeError('a record holds a number over 2^53 - 1');
      }
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  /** A copy: whoever keeps it does not keep the whole record. */
  raw(length: number): Uint8Array {
    if (this.#at + length > this.bytes.length) throw new RangeError('a record ends within its members');
    const copy = new Uint8Array(length);
    copy.set(this.bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return copy;
  }
}

/** As text of this many characters, one a byte: keys of tables then are in the order of their numbers. */
export function encodeBigEndian(value: number, bytes: 2 | 4): string {
  const low = String.fromCharCode((value >>> 8) & 0xff, value & 0xff);
  return bytes === 2 ? low : String.fromCharCode(value >>> 24, (value >>> 16) & 0xff) + low;
}
