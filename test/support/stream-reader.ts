import { expect } from '@jest/globals';
import type { MilestoneEvent, MineEvent } from '../../src/protocol/messages.js';

/** An update as its bytes come. */
export interface StreamUpdate {
  readonly post: string;
  readonly e: string;
  readonly v: number;
  readonly likes: number;
  readonly views: number;
  readonly live: number;
  readonly d?: Readonly<Record<string, number>>;
  readonly mine?: readonly string[];
}

/** An event stream as its bytes come: blocks that are separated by empty lines. */
export class StreamReader {
  readonly #abort = new AbortController();
  #blocks!: AsyncGenerator<string, undefined>;

  static async open(
    url: string,
    headers: Record<string, string> = {},
  ): Promise<{ reader: StreamReader; headers: Headers }> {
    const reader = new StreamReader();
    const response = await fetch(url, { headers, signal: reader.#abort.signal });
    expect(response.status).toBe(200);
    reader.#blocks = blocksOf(response.body as ReadableStream<Uint8Array>);
    return { reader, headers: response.headers };
  }

  /** The next block, `null` at the end. */
  async block(): Promise<string | null> {
    const { value, done } = await this.#blocks.next();
    return done === true ? null : value;
  }

  /** The updates of the next frame; heartbeats are passed over. */
  async frame(): Promise<StreamUpdate[]> {
    for (let block = await this.block(); block !== null; block = await this.block()) {
      const data = /^event: counts\ndata: (.*)$/.exec(block)?.[1];
      if (data !== undefined) return JSON.parse(data) as StreamUpdate[];
      expect(block).toBe(': heartbeat');
    }
    throw new Error('the stream has ended');
  }

  /** The next event `mine`; other blocks are passed over. */
  async mine(): Promise<MineEvent> {
    return (await this.#event('mine')) as MineEvent;
  }

  /** The next event `milestone`; other blocks are passed over. */
  async milestone(): Promise<MilestoneEvent> {
    return (await this.#event('milestone')) as MilestoneEvent;
  }

  async #event(name: string): Promise<unknown> {
    const prefix = `event: ${name}\ndata: `;
    for (let block = await this.block(); block !== null; block = await this.block()) {
      if (block.startsWith(prefix)) return JSON.parse(block.slice(prefix.length));
    }
    throw new Error('the stream has ended');
  }

  /** Frames up to the first with an update of which `ready` is true. */
  async until(ready: (update: StreamUpdate) => boolean): Promise<StreamUpdate[]> {
    const seen: StreamUpdate[] = [];
    while (!seen.some(ready)) seen.push(...(await this.frame()));
    return seen;
  }

  close(): void {
    this.#abort.abort();
  }
}

async function* blocksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop()!;
    yield* blocks;
  }
  expect(text).toBe('');
  return undefined;
}
