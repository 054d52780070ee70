import type { CommitResult, PostCounts } from '../../../counters/batch.js';
import { formatEpoch } from '../../../counters/bucket.js';
import type { Metrics } from '../../../counters/metrics.js';
import type { PostView } from '../../counter-store.js';
import { MsgpackReader } from './msgpack-reader.js';

/** First value of a reply of scripts/commit-batches-n.lua. */
export const COMMIT_REPLIES = { APPLIED: 0, GAP: 1, STALE: 2, UNSUM: 3, UNNAMED: 4, UNDECIDED: 5 } as const;
const REJECTIONS = {
  [COMMIT_REPLIES.GAP]: 'gap',
  [COMMIT_REPLIES.STALE]: 'stale',
  [COMMIT_REPLIES.UNSUM]: 'unsum',
  [COMMIT_REPLIES.UNDECIDED]: 'undecided',
} as const;
/** The letter of metrics that have a set of actors; others have a `c`. */
export const KIND_WITH_MEMBERS = 's';
/** The last time that a Date can hold. */
const TIME_MAX = 8.64e15;

export interface CommitReply {
  /** The batch's posts, each once, in the order of the reply. */
  readonly posts: readonly string[];
  readonly packed: Buffer;
}

export interface DecodedCommit {
  readonly result: CommitResult;
  /** Time until a post is due to be published, ms; `null` if none is. */
  readonly publishInMs: number | null;
}

/** Decodes replies of scripts and messages of gateways, whose shapes are in the headers of scripts/*.lua. */
export class ReplyDecoder {
  /** A letter for each metric: see KIND_WITH_MEMBERS. */
  readonly metricKinds: string;

  constructor(
    readonly metrics: Metrics,
    private readonly region: string,
  ) {
    this.metricKinds = formatKinds(metrics);
  }

  decodeCommit({ posts, packed }: CommitReply): DecodedCommit {
    const values = new MsgpackReader(packed);
    const kind = values.readInteger();
    const rejection = REJECTIONS[kind as keyof typeof REJECTIONS] as
      (typeof REJECTIONS)[keyof typeof REJECTIONS] | undefined;
    if (rejection !== undefined) return { result: { kind: rejection, last: values.readInteger() }, publishInMs: null };
    const e = this.#epoch(values.readInteger(), values.readInteger());
    const due = values.readInteger();
    const outcomes = values.readBytes();
    const counts = new Map<string, PostCounts>();
    const changed: PostCounts[] = [];
    for (const post of posts) {
      const v = values.readInteger();
      const atMs = values.readInteger();
      const live = values.readInteger();
      const isChanged = values.readInteger() === 1;
      const totals: number[] = [];
      for (let left = this.metrics.list.length; left > 0; left--) totals.push(values.readInteger());
      const now = { post, e, v, updatedAtMs: v === 0 ? null : atMs, totals, live };
      counts.set(post, now);
      if (isChanged) changed.push(now);
    }
    return { result: { kind: 'applied', outcomes, counts, changed }, publishInMs: due === 0 ? null : due - 1 };
  }

  /** `isCurrent`: whether the bucket has the run id of the server; otherwise it has to be opened first. */
  decodeViews(posts: readonly string[], reply: unknown): { isCurrent: boolean; views: PostView[] } {
    const numbers = reply as readonly number[];
    const [current, epoch, nonce] = numbers;
    const e = this.#epoch(epoch!, nonce!);
    let at = 3;
    const views = posts.map((post) => {
      const [v, updatedAtMs, live, on, ...totals] = numbers.slice(at, (at += this.#width)) as Numbers;
      return { counts: checkCounts(post, e, v, updatedAtMs, live, totals), on };
    });
    return { isCurrent: current === 1, views };
  }

  /** @throws Error when the message is not one that a gateway publishes */
  decodePublished(post: string, message: string): PostCounts {
    const counts: unknown = JSON.parse(message);
    if (!Array.isArray(counts)) throw new Error('published counts are a list');
    const [epoch, nonce, v, updatedAtMs, live, ...published] = counts as [number, ...Numbers];
    // A gateway that was started before a metric was added publishes fewer totals.
    const totals = this.metrics.list.map(({ index }) => published[index] ?? 0);
    return checkCounts(post, this.#epoch(epoch, nonce), v, updatedAtMs, live, totals);
  }

  get #width(): number {
    return 4 + this.metrics.list.length;
  }

  #epoch(epoch: number, nonce: number): string {
    if (!isCount(epoch) || !isCount(nonce)) throw new Error('an epoch has two whole numbers');
    return formatEpoch({ region: this.region, epoch, nonce });
  }
}

/** @returns a letter for each metric: see KIND_WITH_MEMBERS */
export function formatKinds(metrics: Metrics): string {
  return metrics.list.map(({ kind }) => (kind.hasMembers ? KIND_WITH_MEMBERS : 'c')).join('');
}

type Numbers = [number, number, number, number, ...number[]];

/**
 * The largest totals are texts: see read-posts-2.lua.
 * @throws Error when a value is no count, because viewers would get it
 */
function checkCounts(
  post: string,
  e: string,
  v: number,
  at: number,
  live: number,
  values: readonly unknown[],
): PostCounts {
  const totals = values.map(Number);
  if (!isCount(v) || !isTime(at) || !isCount(live) || !totals.every(isCount)) {
    throw new Error('counts are whole numbers from 0 to 2^53 - 1');
  }
  return { post, e, v, updatedAtMs: v === 0 ? null : at, totals, live };
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isTime(value: number): boolean {
  return isCount(value) && value <= TIME_MAX;
}
