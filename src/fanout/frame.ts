import type { AsciiWriter, Writable } from '../common/ascii-writer.js';

/** One update in a frame: of a post, for viewers that got the same state of it before. */
export class EncodedUpdate {
  #alone: Frame | null = null;
  #bytes: Buffer | null = null;

  /** @param text the update as JSON. It is ASCII, because ids, epochs and names of metrics are. */
  constructor(readonly text: string) {}

  /** The frame of viewers that get no other update. */
  get soleFrame(): Frame {
    return (this.#alone ??= new Frame([this]));
  }

  get bytes(): Buffer {
    return (this.#bytes ??= Buffer.from(this.text, 'latin1'));
  }
}

/** A `counts` frame. All viewers that get the same content share one, so that each kind of sink encodes it once. */
export class Frame implements Writable {
  /** The WebSocket frame, stored here by the sink that encoded it first. */
  encoded: Uint8Array | null = null;
  /** Characters and bytes of `body`. */
  readonly length: number;

  /** @param updates at least one */
  constructor(readonly updates: readonly EncodedUpdate[]) {
    let length = updates.length + 1;
    for (const { text } of updates) length += text.length;
    this.length = length;
  }

  /** The JSON array of updates of a `counts` frame. */
  get body(): string {
    return `[${this.updates.map(({ text }) => text).join(',')}]`;
  }

  /** Writes `body` without building it as a string first. */
  writeTo(writer: AsciiWriter): void {
    let before = '[';
    for (const { bytes } of this.updates) {
      writer.text(before).raw(bytes);
      before = ',';
    }
    writer.text(']');
  }
}

/** Builds frames, and returns the last one again if the next viewer gets the same updates. */
export class FrameCache {
  #last = new Frame([]);

  /** @param updates at least one; the caller may use the list again */
  frameFor(updates: readonly EncodedUpdate[]): Frame {
    if (updates.length === 1) return updates[0]!.soleFrame;
    if (!isSame(updates, this.#last.updates)) this.#last = new Frame([...updates]);
    return this.#last;
  }
}

function isSame(some: readonly EncodedUpdate[], others: readonly EncodedUpdate[]): boolean {
  if (some.length !== others.length) return false;
  for (let i = 0; i < some.length; i++) if (some[i] !== others[i]) return false;
  return true;
}
