import type { Batch, CommitResult, PostCounts } from '../../counters/batch.js';
import { epochOf } from '../../counters/bucket.js';
import type { Key64 } from '../../counters/ids.js';
import type { Metrics } from '../../counters/metrics.js';
import type { PostView } from '../counter-store.js';

const KINDS = { add: 0, set: 1, adjust: 2 } as const;
const DIGIT_0 = 48;

const decimals = new WeakMap<Key64, string>();

/** As a signed integer in decimal, of which Redis keeps 8 bytes in packed sets and hashes; `''` for nobody. */
export function decimalOf(key: Key64 | null): string {
  if (key === null) return '';
  let text = decimals.get(key);
  if (text === undefined) {
    text = BigInt.asIntN(64, (BigInt(key.hi) << 32n) | BigInt(key.lo)).toString();
    decimals.set(key, text);
  }
  return text;
}

export interface Committed {
  readonly result: CommitResult;
  /** Until a post is due to be announced, ms; `null`: nothing is. */
  readonly dueInMs: number | null;
}

/** What scripts are given and answer, as arguments and results of the store. Shapes: the headers of scripts/*.lua. */
export class Codec {
  /** A letter for each metric: a set of actors, or a count. */
  readonly kinds: string;

  constructor(
    readonly metrics: Metrics,
    private readonly region: string,
  ) {
    this.kinds = metrics.list.map(({ kind }) => (kind === 'toggle' ? 's' : 'c')).join('');
  }

  /** The batch's posts, each once, and the two arguments that describe its operations. */
  operationsOf({ operations }: Batch): { posts: string[]; args: [posts: string, operations: string] } {
    const places = new Map<string, number>();
    const flat: (string | number)[] = [];
    for (const { post, metric, kind, value, actor, session, seq } of operations) {
      let place = places.get(post);
      if (place === undefined) places.set(post, (place = places.size + 1));
      flat.push(place, metric, KINDS[kind], value, decimalOf(actor), decimalOf(session), seq);
    }
    const posts = [...places.keys()];
    return { posts, args: [JSON.stringify(posts), JSON.stringify(flat)] };
  }

  committed(posts: readonly string[], reply: unknown): Committed {
    const answer = reply as readonly unknown[];
    const kind = answer[0];
    if (kind === 'gap' || kind === 'stale') return { result: { kind, last: Number(answer[1]) }, dueInMs: null };
    const [, epoch, nonce, dueInMs, digits] = answer as [string, number, number, number, string];
    const e = this.#epoch(epoch, nonce);
    const counts = new Map<string, PostCounts>();
    const changed: PostCounts[] = [];
    let at = 5;
    for (const post of posts) {
      const [v, updatedAtMs, live, isChanged, ...totals] = answer.slice(at, (at += this.#width)) as Numbers;
      const now = countsOf(post, e, v, updatedAtMs, live, totals);
      counts.set(post, now);
      if (isChanged === 1) changed.push(now);
    }
    const outcomes = Uint8Array.from(digits, (digit) => digit.charCodeAt(0) - DIGIT_0);
    return { result: { kind: 'applied', outcomes, counts, changed }, dueInMs: dueInMs < 0 ? null : dueInMs };
  }

  /** `current`: whether the bucket knows the present life of the server; else it has to be opened first. */
  views(posts: readonly string[], reply: unknown): { current: boolean; views: PostView[] } {
    const answer = reply as readonly number[];
    const [current, epoch, nonce] = answer;
    const e = this.#epoch(epoch!, nonce!);
    let at = 3;
    const views = posts.map((post) => {
      const [v, updatedAtMs, live, on, ...totals] = answer.slice(at, (at += this.#width)) as Numbers;
      return { counts: countsOf(post, e, v, updatedAtMs, live, totals), on };
    });
    return { current: current === 1, views };
  }

  /** @throws SyntaxError when it is none of ours. */
  announced(post: string, message: string): PostCounts {
    const [epoch, nonce, v, updatedAtMs, live, ...told] = JSON.parse(message) as [number, ...Numbers];
    // A gateway that was started before a metric was added tells of fewer.
    const totals = this.metrics.list.map(({ index }) => told[index] ?? 0);
    return countsOf(post, this.#epoch(epoch, nonce), v, updatedAtMs, live, totals);
  }

  get #width(): number {
    return 4 + this.metrics.list.length;
  }

  #epoch(epoch: number, nonce: number): string {
    return epochOf({ region: this.region, epoch, nonce });
  }
}

type Numbers = [number, number, number, number, ...number[]];

/** The largest totals come as text: see lib-bucket.lua. */
function countsOf(post: string, e: string, v: number, at: number, live: number, told: readonly unknown[]): PostCounts {
  return { post, e, v, updatedAtMs: v === 0 ? null : at, totals: told.map(Number), live };
}
