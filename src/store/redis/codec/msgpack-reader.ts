/** Reads values that a script has packed: msgpack's unsigned integers and strings, one after the other. */
export class MsgpackReader {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  /** Whether there are no more. */
  get isDone(): boolean {
    return this.#at >= this.bytes.length;
  }

  /** @throws Error when something else stands there, the bytes end within it, or it is over 2^53 - 1 */
  readInteger(): number {
    const { bytes } = this;
    const at = this.#at;
    const first = bytes[this.#at++];
    if (first !== undefined && first < 0x80) return first;
    switch (first) {
      case 0xcc:
        this.#at += 1;
        return bytes.readUInt8(at + 1);
      case 0xcd:
        this.#at += 2;
        return bytes.readUInt16BE(at + 1);
      case 0xce:
        this.#at += 4;
        return bytes.readUInt32BE(at + 1);
      case 0xcf: {
        this.#at += 8;
        const value = bytes.readUInt32BE(at + 1) * 0x1_0000_0000 + bytes.readUInt32BE(at + 5);
        if (value <= Number.MAX_SAFE_INTEGER) return value;
      }
    }
    throw new Error(`no integer at ${at} of ${bytes.toString('hex')}`);
  }

  /** The bytes of a string, copied. */
  readBytes(): Uint8Array {
    const length = this.#lengthOfString();
    return new Uint8Array(this.bytes.subarray(this.#at, (this.#at += length)));
  }

  /** One of ASCII characters. */
  readText(): string {
    const length = this.#lengthOfString();
    return this.bytes.toString('latin1', this.#at, (this.#at += length));
  }

  /** @throws Error when no string stands there, or the bytes end within it */
  #lengthOfString(): number {
    const { bytes } = this;
    const at = this.#at;
    const first = bytes[this.#at++];
    const length = first === undefined ? NaN : this.#lengthAfter(first);
    // Not a number, where it is no string.
    if (this.#at + length <= bytes.length) return length;
    throw new Error(`no string at ${at} of ${bytes.toString('hex')}`);
  }

  #lengthAfter(first: number): number {
    if (first >= 0xa0 && first < 0xc0) return first - 0xa0;
    const bytes = first === 0xd9 ? 1 : first === 0xda ? 2 : first === 0xdb ? 4 : 0;
    if (bytes === 0) return NaN;
    this.#at += bytes;
    return this.bytes.readUIntBE(this.#at - bytes, bytes);
  }
}
