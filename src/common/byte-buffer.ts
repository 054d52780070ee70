/** Memory that grows as bytes are written into it, one after the other. Subclasses say what they write. */
export abstract class ByteBuffer {
  protected bytes: Buffer;
  /** How many of the bytes are written. */
  protected length = 0;

  /** @param initialBytes the size of the memory at first */
  constructor(initialBytes: number) {
    this.bytes = this.allocate(initialBytes);
  }

  /** Makes room for this many bytes after those that are written. */
  protected reserve(more: number): void {
    if (this.length + more > this.bytes.length) this.grow(more);
  }

  protected grow(more: number): void {
    const larger = this.allocate(2 * (this.bytes.length + more));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  protected allocate(bytes: number): Buffer {
    return Buffer.allocUnsafe(bytes);
  }
}
