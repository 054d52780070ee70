import { bucketOf } from '../counters/bucket-of.js';
import type { Member } from '../counters/changed-posts.js';
import { toInt64 } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import type { Clock } from '../common/clock.js';
import type { ChangeStore } from '../store/change-store.js';
import type { Sink } from './sink.js';
import { untilCurrent } from './until-current.js';

/** Posts, and members, that are compared at once. */
const PAGE_POSTS = 500;
const PAGE_MEMBERS = 5_000;
/** Posts of a sink that are looked up in the store at once, if it has any that the store may lack. */
const PAGE_SINK_POSTS = 2_000;
/** Members of one toggle that are compared again. Of a table that was emptied all are missing. */
const SUSPECTS_MAX = 1_000;
/** Members of one toggle that are named. */
const NAMED_MAX = 10;

/** A post counts other members than it has, in the store. */
interface CountDrift {
  readonly arm: 'members';
  readonly post: string;
  readonly metric: string;
  readonly counted: number;
  readonly members: number;
}

/** A toggle of a post has other members in the sink. */
interface SetDrift {
  readonly arm: 'members';
  readonly post: string;
  readonly metric: string;
  /** How many the sink lacks, and some of them; 1,000 are counted at most. */
  readonly missing: number;
  readonly missingActors: readonly string[];
  /** How many the sink has and the store has not, and some of them. */
  readonly extra: number;
  readonly extraActors: readonly string[];
}

export type MembersAuditDrift = CountDrift | SetDrift;

/** A member as a sink has it. */
export interface SinkMember {
  readonly post: string;
  /** A name, which may be none of METRICS if somebody else wrote the row. */
  readonly metric: string;
  readonly actor: bigint;
}

/** The members of a sink, for audits. */
export interface AuditedMembers {
  /** Those of the members that the sink does not have. */
  findMissing(members: readonly Member[]): Promise<Member[]>;
  /** Toggles of these posts, with the number of their members. */
  count(posts: readonly string[]): Promise<readonly { post: string; metric: string; count: number }[]>;
  /** Members of one post in the order of metric and actor, after one. */
  readOf(post: string, after: SinkMember | null, limit: number): Promise<readonly SinkMember[]>;
  /**
   * Posts with members, in order, after a post.
   * @returns those of them that have no counts, and the last post; `null`: there are no more
   */
  findUncounted(
    after: string,
    limit: number,
  ): Promise<{ readonly posts: readonly string[]; readonly next: string | null }>;
  /** Deletes the members of posts that have no counts. */
  deleteUncounted(posts: readonly string[]): Promise<void>;
}

/** A sink whose members can be compared with those of the store. */
export interface MembersSink extends Sink {
  readonly members: AuditedMembers;
  syncAgain(buckets: readonly number[]): Promise<void>;
}

export interface MembersAuditOptions {
  readonly buckets: number;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly repairs: boolean;
  /** The audit waits for it, so that it is not faster than its reader. */
  readonly report: (drift: MembersAuditDrift) => Promise<void>;
  /** Ends the audit early. */
  readonly signal: AbortSignal;
}

export interface MembersAuditSummary {
  readonly drift: number;
  /** Buckets whose posts are sent again, because something differs. */
  readonly syncedAgain: number;
}

export function hasAuditedMembers(sink: Sink): sink is MembersSink {
  return sink.keepsMembers && 'members' in sink;
}

/**
 * Compares what the posts of the store count with the members that they have, and makes them count these if it repairs.
 *
 * Cost: all members are read once.
 * @returns how many toggles differed
 */
export async function auditCountedMembers(
  store: Pick<ChangeStore, 'readAll' | 'checkMembers'>,
  { buckets, metrics, repairs, report, signal }: MembersAuditOptions,
): Promise<number> {
  let drift = 0;
  for await (const posts of readPosts(store, buckets, signal)) {
    for (const { post, metric, counted, members } of await store.checkMembers(posts, repairs)) {
      drift += 1;
      await report({ arm: 'members', post, metric: metrics.list[metric]!.name, counted, members });
    }
  }
  return drift;
}

/** Members of a toggle that differ: of many the first ones. */
interface Difference {
  readonly post: string;
  readonly metric: string;
  readonly missing: Set<bigint>;
  readonly extra: Set<bigint>;
}

/** By post and metric. */
type Differences = ReadonlyMap<string, Difference>;

/**
 * Compares the members of a sink with those of the store. What differs is compared again once the sink has had everything: only what
 * differs in the same way twice is reported.
 *
 * Cost: all members of the store are read and looked up in the sink once, and those of the sink are counted once.
 */
export class SinkMembersAudit {
  #drift = 0;
  readonly #wrongBuckets = new Set<number>();

  constructor(
    private readonly store: Pick<ChangeStore, 'readAll' | 'readMembers' | 'changesSince'>,
    private readonly sink: MembersSink,
    private readonly options: MembersAuditOptions,
  ) {}

  /** @throws Error if the sink does not get what the store has */
  async run(): Promise<MembersAuditSummary> {
    const { buckets, signal, repairs } = this.options;
    // Checks whose members the sink has.
    await this.sink.readPositions();
    for await (const posts of readPosts(this.store, buckets, signal)) {
      for (const one of await this.#compareTwice(posts)) {
        this.#wrongBuckets.add(bucketOf(one.post, buckets));
        await this.#report(one);
      }
    }
    await this.#auditUncounted();
    const wrong = repairs ? [...this.#wrongBuckets] : [];
    if (wrong.length > 0) await this.sink.syncAgain(wrong);
    return { drift: this.#drift, syncedAgain: wrong.length };
  }

  /** Posts of the sink that the store does not have: a full sync would not come across them. */
  async #auditUncounted(): Promise<void> {
    const { members } = this.sink;
    for (let after: string | null = ''; after !== null && !this.options.signal.aborted;) {
      const { posts, next }: Awaited<ReturnType<AuditedMembers['findUncounted']>> = await members.findUncounted(
        after,
        PAGE_SINK_POSTS,
      );
      const different = await this.#compareTwice(posts);
      for (const one of different) await this.#report(one);
      if (this.options.repairs && different.length > 0)
        await members.deleteUncounted(different.map(({ post }) => post));
      after = next;
    }
  }

  async #compareTwice(posts: readonly string[]): Promise<Difference[]> {
    const first = await this.#compare(posts);
    if (first.size === 0) return [];
    const suspects = [...new Set([...first.values()].map(({ post }) => post))];
    const buckets = new Set(suspects.map((post) => bucketOf(post, this.options.buckets)));
    await untilCurrent(this.store, this.sink, buckets, this.options);
    const second = await this.#compare(suspects);
    return [...second].flatMap(([key, { post, metric, missing, extra }]) => {
      const before = first.get(key);
      if (before === undefined) return [];
      const both = { post, metric, missing: intersect(before.missing, missing), extra: intersect(before.extra, extra) };
      return both.missing.size + both.extra.size === 0 ? [] : [both];
    });
  }

  async #compare(posts: readonly string[]): Promise<Differences> {
    const differences = new Map<string, Difference>();
    if (posts.length === 0) return differences;
    /** By post and metric: how many members of the store the sink has. */
    const common = new Map<string, number>();
    for await (const members of readMembers(this.store, posts)) {
      for (const { post, metric } of members) add(common, this.#toKey(post, this.#name(metric)), 1);
      for (const { post, metric, actor } of await this.sink.members.findMissing(members)) {
        const key = this.#toKey(post, this.#name(metric));
        add(common, key, -1);
        keep(differenceOf(differences, key, post, this.#name(metric)).missing, toInt64(actor));
      }
    }
    const withMore = new Set<string>();
    for (const { post, metric, count } of await this.sink.members.count(posts)) {
      if (count > (common.get(this.#toKey(post, metric)) ?? 0)) withMore.add(post);
    }
    for (const post of withMore) await this.#findExtra(post, differences);
    return differences;
  }

  /** Holds the members of one post, but only if the sink has more of it. */
  async #findExtra(post: string, differences: Map<string, Difference>): Promise<void> {
    const stored = new Set<string>();
    for await (const members of readMembers(this.store, [post])) {
      for (const { metric, actor } of members) stored.add(`${this.#name(metric)} ${toInt64(actor)}`);
    }
    let after: SinkMember | null = null;
    do {
      const members: readonly SinkMember[] = await this.sink.members.readOf(post, after, PAGE_MEMBERS);
      for (const { metric, actor } of members) {
        if (stored.has(`${metric} ${actor}`)) continue;
        keep(differenceOf(differences, this.#toKey(post, metric), post, metric).extra, actor);
      }
      after = members.at(PAGE_MEMBERS - 1) ?? null;
    } while (after !== null);
  }

  async #report({ post, metric, missing, extra }: Difference): Promise<void> {
    this.#drift += 1;
    await this.options.report({
      ...{ arm: 'members', post, metric },
      ...{ missing: missing.size, missingActors: nameSome(missing) },
      ...{ extra: extra.size, extraActors: nameSome(extra) },
    });
  }

  #name(metric: number): string {
    return this.options.metrics.list[metric]!.name;
  }

  #toKey(post: string, metric: string): string {
    return `${post} ${metric}`;
  }
}

async function* readPosts(
  store: Pick<ChangeStore, 'readAll'>,
  buckets: number,
  signal: AbortSignal,
): AsyncIterable<readonly string[]> {
  const all = new Set(Array.from({ length: buckets }, (_, bucket) => bucket));
  for (let cursor: string | null = ''; cursor !== null && !signal.aborted;) {
    const page = await store.readAll(all, cursor, PAGE_POSTS);
    yield page.posts.map(({ post }) => post);
    cursor = page.next;
  }
}

async function* readMembers(
  store: Pick<ChangeStore, 'readMembers'>,
  posts: readonly string[],
): AsyncIterable<readonly Member[]> {
  for (let cursor: string | null = ''; cursor !== null;) {
    const page = await store.readMembers(posts, cursor, PAGE_MEMBERS);
    if (page.members.length > 0) yield page.members;
    cursor = page.next;
  }
}

function differenceOf(differences: Map<string, Difference>, key: string, post: string, metric: string): Difference {
  const found = differences.get(key) ?? { post, metric, missing: new Set(), extra: new Set() };
  differences.set(key, found);
  return found;
}

function keep(suspects: Set<bigint>, actor: bigint): void {
  if (suspects.size < SUSPECTS_MAX) suspects.add(actor);
}

function add(numbers: Map<string, number>, key: string, by: number): void {
  numbers.set(key, (numbers.get(key) ?? 0) + by);
}

function intersect(one: ReadonlySet<bigint>, other: ReadonlySet<bigint>): Set<bigint> {
  return new Set([...one].filter((actor) => other.has(actor)));
}

/** As texts, because JSON's numbers cannot hold them. */
function nameSome(actors: ReadonlySet<bigint>): string[] {
  return [...actors].slice(0, NAMED_MAX).map(String);
}
