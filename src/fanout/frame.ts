/** What viewers are written. All that get the same share one, so that each kind of sink encodes it once. */
export class Frame {
  /** As it goes over a WebSocket; kept here by the sink that encoded it first. */
  encoded: Uint8Array | null = null;

  /** @param body the JSON array of updates of a `counts` frame: ASCII, for ids, epochs and names are */
  constructor(readonly body: string) {}
}

/** One update in a frame: of a post, for viewers that were given the same state of it before. */
export class Part {
  #alone: Frame | null = null;

  constructor(readonly text: string) {}

  /** The frame of those who are given nothing else. */
  get alone(): Frame {
    return (this.#alone ??= new Frame(`[${this.text}]`));
  }
}

/** Puts frames together, and gives the last one again to the next viewer if that is due the same parts. */
export class Frames {
  readonly #parts: Part[] = [];
  #last = new Frame('[]');

  /** @param parts at least one */
  of(parts: readonly Part[]): Frame {
    if (parts.length === 1) return parts[0]!.alone;
    if (!this.#isLast(parts)) {
      this.#parts.length = 0;
      let body = '';
      for (const part of parts) {
        this.#parts.push(part);
        body += `${body === '' ? '[' : ','}${part.text}`;
      }
      this.#last = new Frame(`${body}]`);
    }
    return this.#last;
  }

  #isLast(parts: readonly Part[]): boolean {
    if (parts.length !== this.#parts.length) return false;
    for (let i = 0; i < parts.length; i++) if (parts[i] !== this.#parts[i]) return false;
    return true;
  }
}
