import type { PostCounts } from '../counters/batch.js';
import type { Metrics } from '../counters/metrics.js';
import type { Update } from '../protocol/messages.js';
import { AsciiWriter } from '../common/ascii-writer.js';
import { EncodedUpdate } from './frame.js';

const writer = new AsciiWriter();

/** An update as an object: for acknowledgements and first snapshots, which have no `d`. */
export function toUpdate({ post, e, v, totals }: PostCounts, live: number, metrics: Metrics): Update {
  const update: Record<string, unknown> & { post: string; e: string; v: number; live: number } = { post, e, v, live };
  for (const { name, index } of metrics.list) update[name] = totals[index] ?? 0;
  return update;
}

/** Writes the same as JSON, without its closing brace: `d` may follow. */
export function writeCounts(
  writer: AsciiWriter,
  { post, e, v, totals }: PostCounts,
  live: number,
  metrics: Metrics,
): void {
  writer.text('{"post":"').text(post).text('","e":"').text(e).text('","v":').integer(v);
  const { list, prefixes } = metrics;
  for (let i = 0; i < list.length; i++) writer.text(prefixes[i]!).integer(totals[i] ?? 0);
  writer.text(',"live":').integer(live);
}

/**
 * A watched post's newest state, shared by all its subscribers. What is encoded is encoded once: the update for all,
 * and `d` once for each state that subscribers come from, of which there is seldom more than one.
 */
export class Snapshot {
  #head: string | null = null;
  readonly #parts = new Map<Snapshot, EncodedUpdate>();
  /** Most viewers come from the same state. */
  #lastBase: Snapshot | null = null;
  #lastPart: EncodedUpdate | null = null;

  constructor(
    readonly counts: PostCounts,
    readonly live: number,
    private readonly metrics: Metrics,
  ) {}

  /** The update as JSON, with `d` as the change since `base`. */
  encodeSince(base: Snapshot): EncodedUpdate {
    if (this.#lastBase === base) return this.#lastPart!;
    let part = this.#parts.get(base);
    if (part === undefined) {
      part = new EncodedUpdate(`${this.#encoded()},"d":${this.#delta(base)}}`);
      this.#parts.set(base, part);
    }
    this.#lastBase = base;
    this.#lastPart = part;
    return part;
  }

  /** The update as JSON, without `d`: nothing went before it. */
  encodeFull(): string {
    return `${this.#encoded()}}`;
  }

  /** A newer one took its place: what was encoded is not needed again, and would keep older snapshots alive. */
  retire(): void {
    this.#parts.clear();
    this.#lastBase = null;
    this.#lastPart = null;
  }

  #encoded(): string {
    return (this.#head ??= writer.toText({ writeTo: () => writeCounts(writer, this.counts, this.live, this.metrics) }));
  }

  #delta(base: Snapshot): string {
    let changed = '';
    for (const { name, index } of this.metrics.list) {
      const by = (this.counts.totals[index] ?? 0) - (base.counts.totals[index] ?? 0);
      if (by !== 0) changed += `${changed === '' ? '' : ','}"${name}":${by}`;
    }
    return `{${changed}}`;
  }
}
