import type { PostCounts } from '../counters/batch.js';
import type { Metrics } from '../counters/metrics.js';
import type { Update } from '../protocol/messages.js';
import { AsciiWriter } from '../common/ascii-writer.js';
import { EncodedUpdate } from './frame.js';

const writer = new AsciiWriter();

/** Builds an update without `d`, for first snapshots. */
export function toUpdate({ post, e, v, totals }: PostCounts, live: number, metrics: Metrics): Update {
  const update: Record<string, unknown> & { post: string; e: string; v: number; live: number } = { post, e, v, live };
  for (const { name, index } of metrics.list) update[name] = totals[index] ?? 0;
  return update;
}

/** Writes the update as JSON, without its closing brace, because `d` may follow. */
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
 * A watched post's newest state, shared by all its subscribers. The update is encoded once for all, and `d` once for each
 * baseline of the subscribers; they seldom have more than one.
 */
export class PostSnapshot {
  #head: string | null = null;
  readonly #updates = new Map<PostSnapshot, EncodedUpdate>();
  /** The last baseline, because most viewers have the same. */
  #lastBaseline: PostSnapshot | null = null;
  #lastUpdate: EncodedUpdate | null = null;

  constructor(
    readonly counts: PostCounts,
    readonly live: number,
    private readonly metrics: Metrics,
  ) {}

  /** Encodes the update as JSON, with `d` as the change since `baseline`. */
  encodeSince(baseline: PostSnapshot): EncodedUpdate {
    if (this.#lastBaseline === baseline) return this.#lastUpdate!;
    let update = this.#updates.get(baseline);
    if (update === undefined) {
      update = new EncodedUpdate(`${this.#encodeHead()},"d":${this.#changeSince(baseline)}}`);
      this.#updates.set(baseline, update);
    }
    this.#lastBaseline = baseline;
    this.#lastUpdate = update;
    return update;
  }

  /** Encodes the update as JSON without `d`, for viewers without a baseline. */
  encodeFull(): string {
    return `${this.#encodeHead()}}`;
  }

  /** To be called when a newer snapshot replaces it: drops encoded updates, which would keep older snapshots alive. */
  retire(): void {
    this.#updates.clear();
    this.#lastBaseline = null;
    this.#lastUpdate = null;
  }

  #encodeHead(): string {
    return (this.#head ??= writer.toText({ writeTo: () => writeCounts(writer, this.counts, this.live, this.metrics) }));
  }

  #changeSince(baseline: PostSnapshot): string {
    let changed = '';
    for (const { name, index } of this.metrics.list) {
      const by = (this.counts.totals[index] ?? 0) - (baseline.counts.totals[index] ?? 0);
      if (by !== 0) changed += `${changed === '' ? '' : ','}"${name}":${by}`;
    }
    return `{${changed}}`;
  }
}
