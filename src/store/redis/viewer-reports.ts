import type { PostViewers, ViewersChange } from '../counter-store.js';
import type { ViewerReport, ViewersPage } from './codec/viewer-report.js';

/** Posts and people that one call reports. Redis takes up to a millisecond for them, because it searches packed hashes. */
const REPORT_MAX = 250;

/** How many viewers of a gateway Redis has in a bucket. */
export interface StoredViewers {
  /** Posts with viewers that count by their number. */
  readonly posts: number;
  /** People, each as often as there are posts that they are at. */
  readonly people: number;
}

export interface ReportOutcome {
  readonly storedBefore: StoredViewers;
  /** The numbers after the report. */
  readonly stored: StoredViewers;
}

export interface ViewerScripts {
  report(bucket: number, report: ViewerReport): Promise<ReportOutcome>;
  /** @param cursor of the page before; `0` at first */
  readPage(bucket: number, cursor: string): Promise<ViewersPage>;
}

/** People by post. */
type People = Map<string, Set<string>>;

interface AllStored {
  /** Numbers of viewers that count by their number, by post. */
  readonly others: ReadonlyMap<string, number>;
  readonly people: People;
}

interface Bucket {
  readonly viewers: Map<string, PostViewers>;
  /** Posts, and people at them, who changed since they were reported. */
  changed: People;
  /** The numbers in Redis after the last report. */
  stored: StoredViewers;
  /** Redis may have other viewers of this gateway, so they are read and compared. */
  needsComparison: boolean;
  /** The report that runs until nothing is left to report. */
  reporting: Promise<void> | null;
}

/**
 * Reports this gateway's viewers to Redis: numbers, and people who are at a post or not. Only one report of a bucket runs at a time, so
 * that to repeat one does no harm. A report has the viewers as they are when it is sent: later changes are reported after it.
 */
export class ViewerReports {
  readonly #buckets: readonly Bucket[];

  constructor(
    buckets: number,
    private readonly scripts: ViewerScripts,
  ) {
    this.#buckets = Array.from({ length: buckets }, () => ({
      viewers: new Map<string, PostViewers>(),
      changed: new Map<string, Set<string>>(),
      stored: { posts: 0, people: 0 },
      needsComparison: false,
      reporting: null,
    }));
  }

  add(number: number, post: string, { viewers, people }: ViewersChange): void {
    const bucket = this.#buckets[number]!;
    if (isEmpty(viewers)) bucket.viewers.delete(post);
    else bucket.viewers.set(post, viewers);
    markChanged(bucket.changed, post, people);
  }

  /** Called when another server may have replaced the one that got the reports. */
  compareAll(): void {
    for (const bucket of this.#buckets) if (bucket.viewers.size > 0) bucket.needsComparison = true;
  }

  /** @param found  by a sweep */
  checkStored(number: number, found: StoredViewers): void {
    const bucket = this.#buckets[number]!;
    const isReported = bucket.changed.size === 0 && bucket.reporting === null;
    if (isReported && !isSame(found, bucket.stored)) bucket.needsComparison = true;
  }

  /** Resolves when nothing is left to report, or when a call failed: the next `flush` finds what Redis lacks. */
  flush(number: number): Promise<void> {
    const bucket = this.#buckets[number]!;
    if (bucket.needsComparison || bucket.changed.size > 0) bucket.reporting ??= this.#report(number, bucket);
    return bucket.reporting ?? Promise.resolve();
  }

  /** Reports that there are no viewers. Where that fails they end with the lease. */
  async withdrawAll(): Promise<void> {
    for (const { viewers, changed } of this.#buckets) {
      for (const [post, viewersOfPost] of viewers) markChanged(changed, post, viewersOfPost.people());
      viewers.clear();
    }
    await Promise.all(this.#buckets.map((_, number) => this.flush(number)));
  }

  async #report(number: number, bucket: Bucket): Promise<void> {
    try {
      // A report may find that another comparison is needed: the next sweep makes it.
      if (bucket.needsComparison) await this.#compare(number, bucket);
      while (bucket.changed.size > 0) await this.#reportChanged(number, bucket);
    } catch {
      // The next sweep tries again. Until then nothing is kept, because people come and go for as long as Redis is down.
      bucket.changed.clear();
      bucket.needsComparison = true;
    }
    bucket.reporting = null;
  }

  async #reportChanged(number: number, bucket: Bucket): Promise<void> {
    const { changed, viewers } = bucket;
    bucket.changed = new Map();
    for (const page of splitIntoPages(changed)) {
      const { storedBefore, stored } = await this.scripts.report(number, describe(page, viewers));
      if (!isSame(storedBefore, bucket.stored)) bucket.needsComparison = true;
      bucket.stored = stored;
    }
  }

  /** Marks as changed what Redis has and this gateway has not, and the other way round. */
  async #compare(number: number, bucket: Bucket): Promise<void> {
    bucket.needsComparison = false;
    const stored = await this.#readStored(number);
    const people = [...stored.people.values()].reduce((sum, { size }) => sum + size, 0);
    bucket.stored = { posts: stored.others.size, people };
    markDifferences(bucket, stored);
  }

  async #readStored(number: number): Promise<AllStored> {
    const others = new Map<string, number>();
    const people: People = new Map();
    let cursor = '0';
    do {
      const page = await this.scripts.readPage(number, cursor);
      for (const [post, viewers] of page.others) others.set(post, viewers);
      for (const [post, person] of page.people) markChanged(people, post, [person]);
      ({ cursor } = page);
    } while (cursor !== '0');
    return { others, people };
  }
}

function isSame(one: StoredViewers, other: StoredViewers): boolean {
  return one.posts === other.posts && one.people === other.people;
}

/** A post to report, with some of the people who changed. */
interface ReportedPost {
  readonly post: string;
  readonly people: readonly string[];
}

/** People of one post may be in several pages. */
function* splitIntoPages(changed: People): Iterable<readonly ReportedPost[]> {
  let page: ReportedPost[] = [];
  let room = REPORT_MAX;
  for (const [post, people] of changed) {
    let rest = [...people];
    do {
      if (room === 0) {
        yield page;
        page = [];
        room = REPORT_MAX;
      }
      const some = rest.slice(0, room - 1);
      page.push({ post, people: some });
      room -= 1 + some.length;
      rest = rest.slice(some.length);
    } while (rest.length > 0);
  }
  if (page.length > 0) yield page;
}

function describe(page: readonly ReportedPost[], viewers: ReadonlyMap<string, PostViewers>): ViewerReport {
  return {
    others: page.map(({ post }) => [post, viewers.get(post)?.others ?? 0]),
    people: page
      .filter(({ people }) => people.length > 0)
      .map(({ post, people }) => {
        const isThere = (person: string): boolean => viewers.get(post)?.hasPerson(person) ?? false;
        const absent = people.filter((person) => !isThere(person));
        return { post, present: people.filter(isThere).join(''), absent: absent.join('') };
      }),
  };
}

function markDifferences({ viewers, changed }: Bucket, stored: AllStored): void {
  for (const [post, others] of stored.others) {
    if ((viewers.get(post)?.others ?? 0) !== others) markChanged(changed, post, []);
  }
  for (const [post, people] of stored.people) {
    for (const person of people)
      if (viewers.get(post)?.hasPerson(person) !== true) markChanged(changed, post, [person]);
  }
  for (const [post, here] of viewers) {
    if (here.others !== (stored.others.get(post) ?? 0)) markChanged(changed, post, []);
    const people = stored.people.get(post);
    for (const person of here.people()) if (people?.has(person) !== true) markChanged(changed, post, [person]);
  }
}

function markChanged(changed: People, post: string, people: Iterable<string>): void {
  let ofPost = changed.get(post);
  if (ofPost === undefined) changed.set(post, (ofPost = new Set()));
  for (const person of people) ofPost.add(person);
}

function isEmpty(viewers: PostViewers): boolean {
  const { done } = viewers.people()[Symbol.iterator]().next();
  return viewers.others === 0 && done === true;
}
