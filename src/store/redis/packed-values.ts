/** Reads what a script packed: msgpack's unsigned integers and strings, one after the other. */
export class PackedValues {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  /** Whether there are no more. */
  get done(): boolean {
    return this.#at >= this.bytes.length;
  }

  /** Exact up to 2^53 - 1. @throws Error when something else stands there */
  integer(): number {
    const { bytes } = this;
    const first = bytes[this.#at++]!;
    if (first < 0x80) return first;
    switch (first) {
      case 0xcc:
        return bytes[this.#at++]!;
      case 0xcd:
        return (bytes[this.#at++]! << 8) | bytes[this.#at++]!;
      case 0xce:
        return this.#half();
      case 0xcf:
        return this.#half() * 0x1_0000_0000 + this.#half();
      default:
        throw new Error(`no integer at ${this.#at - 1} of ${bytes.toString('hex')}`);
    }
  }

  /** The bytes of a string, copied. */
  string(): Uint8Array {
    const length = this.#lengthOfString();
    return new Uint8Array(this.bytes.subarray(this.#at, (this.#at += length)));
  }

  /** One of ASCII characters. */
  text(): string {
    const length = this.#lengthOfString();
    return this.bytes.toString('latin1', this.#at, (this.#at += length));
  }

  #half(): number {
    const { bytes } = this;
    const value =
      bytes[this.#at]! * 0x100_0000 +
      ((bytes[this.#at + 1]! << 16) | (bytes[this.#at + 2]! << 8) | bytes[this.#at + 3]!);
    this.#at += 4;
    return value;
  }

  #lengthOfString(): number {
    const first = this.bytes[this.#at++]!;
    if (first >= 0xa0 && first < 0xc0) return first - 0xa0;
    if (first === 0xd9) return this.bytes[this.#at++]!;
    if (first !== 0xda && first !== 0xdb)
      throw new Error(`no string at ${this.#at - 1} of ${this.bytes.toString('hex')}`);
    const length = first === 0xda ? 2 : 4;
    this.#at += length;
    return this.bytes.readUIntBE(this.#at - length, length);
  }
}
