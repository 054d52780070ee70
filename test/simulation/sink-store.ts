import type { Batch } from '../../src/counters/batch.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { computeTotals } from '../../src/counters/bucket.js';
import { LIKES, Metrics, VIEWS } from '../../src/counters/metrics.js';
import type { Operation } from '../../src/counters/operation.js';
import type { Incarnation } from '../../src/counters/pn-counter.js';
import type { ChangePage, ChangeStore, CopyRequest, MembersPage } from '../../src/store/change-store.js';
import { key } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import type { Random } from '../support/random.js';
import type { SimulatedClock } from './simulated-clock.js';
import type { SimulatedProcess } from './simulated-process.js';
import { memberKey } from './sink-members.js';
import { FINAL_MS, type MilestoneTable, nameMilestone } from './sink-milestones.js';
import type { SinkRules } from './sink-rules.js';
import { callFrom, calmWeather, type UnreliableCall } from './unreliable-call.js';

export const METRICS = Metrics.parse('likes:toggle,views:tally');
export const BUCKETS = 2;
const POSTS = Array.from({ length: 14 }, (_, i) => `post-${i}`);
const ACTORS = 3;
const LEASE_MS = 2_000;
/** Posts of a page: far fewer than in the field, so that few posts take several pages. */
const PAGE_POSTS = 2;
const PAGE_MEMBERS = 2;
const PAGE_CHANGES_MAX = 3;

/** The state of a bucket at one instant. */
export interface BucketContents {
  /** By post: its version and totals. */
  readonly posts: ReadonlyMap<string, { readonly v: number; readonly totals: readonly number[] }>;
  /** Keys of its members. */
  readonly members: ReadonlySet<string>;
}

/** The store of some gateways: it fails over, is restored from backups, and gets the counts of another region. */
export class SinkStore {
  readonly weather = calmWeather();
  /** The probability that something is counted after a call, before the gateway's next one. */
  traffic = 0;
  primary: ReferenceStore;
  #replica: ReferenceStore;
  #backup: ReferenceStore;
  /** When they were made. */
  #replicatedAtMs = 0;
  #backedUpAtMs = 0;
  /** Whether it fell back to a time before some record of a milestone was final. */
  hasLostFinal = false;
  /** Batches that the replica lacks. */
  #unreplicated: Batch[] = [];
  readonly #peer: ReferenceStore;
  /** By duty: the gateway that has its lease, and until when. */
  readonly #leases = new Map<string, { readonly process: SimulatedProcess; readonly untilMs: number }>();
  /** By bucket, incarnation and seq: the contents of the bucket when its changes were complete. */
  readonly #complete = new Map<string, BucketContents>();
  /** How many of the operations are views. Posts and members of a page of changes, about. */
  readonly #viewShare: number;
  readonly #pageChanges: number;
  #batches = 0;
  /** How often changes were read. */
  cycles = 0;

  constructor(
    private readonly clock: SimulatedClock,
    private readonly random: Random,
    private readonly rules: SinkRules,
    /** Whether it loses no commits, and forgets which posts changed when it is opened again. */
    readonly isEmbedded: boolean,
  ) {
    this.#viewShare = random.next();
    this.#pageChanges = random.chance(0.8) ? 1 : PAGE_CHANGES_MAX;
    this.primary = this.#create('eu');
    this.#peer = this.#create('us');
    this.#replica = this.primary.copy();
    this.#backup = this.primary.copy();
  }

  /** The store as a gateway sees it. */
  connect(process: SimulatedProcess): ChangeStore {
    const callStore = callFrom(process, this.random, this.weather, () => new Error('the store is down'));
    const call: UnreliableCall = (run) =>
      callStore(async () => {
        const result = await run();
        if (this.random.chance(this.traffic)) await this.commit();
        return result;
      });
    return {
      acquireLease: (duty) => call(() => this.#acquireLease(process, duty)),
      changesSince: (requests, { withMembers }) => call(() => this.#changesSince(requests, withMembers)),
      stopRecording: () => call(() => this.primary.changeStore.stopRecording()),
      isRecording: () => call(() => this.primary.changeStore.isRecording()),
      readAll: (buckets, cursor) => call(() => this.primary.changeStore.readAll(buckets, cursor, PAGE_POSTS)),
      readMembers: (posts, cursor) => call(() => this.#readMembers(posts, cursor)),
      checkMembers: (posts, repairs) => call(() => this.primary.changeStore.checkMembers(posts, repairs)),
      restoreMilestones: (records) => call(() => this.primary.changeStore.restoreMilestones(records)),
      readPositions: (copy) => call(() => this.primary.changeStore.readPositions(copy)),
      savePositions: (copy, positions) => call(() => this.primary.changeStore.savePositions(copy, positions)),
    };
  }

  /** Counts something in a bucket: the operations, or random ones, some of which change nothing. */
  async commit(bucket = this.random.below(BUCKETS), operations = this.#randomOperations(bucket)): Promise<void> {
    const batch = this.#buildBatch(bucket, operations);
    this.#unreplicated.push(batch);
    await this.primary.commit(batch);
  }

  /** Counts a view in each bucket. */
  async commitViews(): Promise<void> {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const post = this.#randomPost(bucket);
      const view = { post, metric: VIEWS, kind: 'add', value: 1, actor: null, session: null, seq: 0 } as const;
      await this.commit(bucket, [view]);
    }
  }

  /** The other region counts something, and all that it has is merged. */
  async merge(): Promise<void> {
    const bucket = this.random.below(BUCKETS);
    await this.#peer.commit(this.#buildBatch(bucket, this.#randomOperations(bucket)));
    const buckets = new Set(Array.from({ length: BUCKETS }, (_, bucket) => bucket));
    for (let cursor: string | null = ''; cursor !== null;) {
      const { deltas, next } = await this.#peer.fullSyncPage(buckets, cursor, POSTS.length);
      this.rules.merge(this.primary, () => void this.primary.merge(deltas));
      cursor = next;
    }
  }

  /** Arms a milestone that some of the next operations reach. */
  async arm(): Promise<void> {
    const post = this.random.pick(POSTS);
    const { index: metric } = this.random.pick(METRICS.list);
    const [view] = await this.primary.read([post], null);
    await this.primary.milestones.arm(post, metric, view!.counts.totals[metric]! + 1 + this.random.below(3));
  }

  replicate(): void {
    this.#replicatedAtMs = this.clock.wallMs();
    this.#replica = this.primary.copy();
    this.#unreplicated = [];
  }

  backUp(): void {
    this.#backedUpAtMs = this.clock.wallMs();
    this.#backup = this.primary.copy();
  }

  /** Promotes the replica. An embedded store is opened again, with all that was committed, or restored from a backup. */
  async failOver(): Promise<void> {
    if (this.isEmbedded) {
      if (this.random.chance(0.5)) this.#reopen();
      else this.restoreBackup();
      return;
    }
    // A failover loses no more than that, or no record would ever be final.
    if (this.clock.wallMs() >= this.#replicatedAtMs + FINAL_MS) this.replicate();
    const lost = this.#unreplicated;
    this.primary = this.#replica;
    // If the next failover comes soon, its replica lacks the effects of this one.
    this.replicate();
    this.primary.restart(this.clock.wallMs());
    this.#leases.delete('table');
    if (this.random.chance(0.7)) this.replicate();
    if (this.random.chance(0.5)) for (const batch of lost) await this.primary.commit(batch);
  }

  restoreBackup(): void {
    this.hasLostFinal ||= this.isEmbedded || this.clock.wallMs() >= this.#backedUpAtMs + FINAL_MS;
    this.primary = this.#backup.copy();
    this.primary.restart(this.clock.wallMs());
    if (this.isEmbedded) this.#reopen();
    this.replicate();
  }

  /** A store without counts takes over. */
  empty(): void {
    this.hasLostFinal = true;
    this.primary = this.#create('eu');
    this.replicate();
  }

  readContents(number: number): BucketContents {
    const bucket = this.primary.buckets[number]!;
    const posts = bucket.posts.map((post) => {
      const state = bucket.post(post);
      return [post, { v: state!.v, totals: computeTotals(state, METRICS) }] as const;
    });
    const members = bucket.posts.flatMap((post) =>
      bucket.listMembers(post, LIKES).map((actor) => memberKey({ post, metric: LIKES, actor })),
    );
    return { posts: new Map(posts), members: new Set(members) };
  }

  /** All records of milestones. */
  readMilestones(): MilestoneTable {
    const all = this.primary.buckets.flatMap(({ milestones }) => milestones.listReached());
    return new Map(all.map((one) => [nameMilestone(one), one]));
  }

  /** The contents of a bucket when an incarnation was at a seq; `undefined`: its changes were never complete there. */
  contentsAt(bucket: number, incarnation: Incarnation, upTo: number): BucketContents | undefined {
    return this.#complete.get(toMapKey(bucket, incarnation, upTo));
  }

  async #changesSince(requests: readonly CopyRequest[], withMembers: boolean): Promise<readonly ChangePage[]> {
    this.cycles += 1;
    const isNew = this.primary.buckets.map(({ changedPosts }) => changedPosts === null);
    const reading = this.primary.changeStore.changesSince(requests, { limit: this.#pageChanges, withMembers });
    const contents = requests.map(({ bucket }) => this.readContents(bucket));
    const pages = await reading;
    if (this.rules.takesEarlierRecordsForFinal) this.#takeRecordsForFinal(isNew);
    for (const [i, { bucket, isComplete, starts, upTo }] of pages.entries()) {
      if (isComplete) this.#complete.set(toMapKey(bucket, starts.at(-1)!, upTo), contents[i]!);
    }
    return this.rules.readsMembersLate ? await this.#readMembersLate(pages) : pages;
  }

  /** A planted fault. @param isNew by bucket: whether its recording has just started */
  #takeRecordsForFinal(isNew: readonly boolean[]): void {
    for (const [i, { changedPosts }] of this.primary.buckets.entries())
      if (isNew[i] === true && changedPosts !== null) changedPosts.posts.state.provisional = [];
  }

  async #readMembers(posts: readonly string[], cursor: string): Promise<MembersPage> {
    const page = await this.primary.changeStore.readMembers(posts, cursor, PAGE_MEMBERS);
    // One of them leaves at once. Random operations would rarely hit one.
    if (page.members.length > 0 && this.random.chance(2 * this.traffic)) {
      const { post, metric, actor } = this.random.pick(page.members);
      const leave = { post, metric, kind: 'set', value: 0, actor, session: null, seq: 0 } as const;
      await this.commit(bucketOf(post, BUCKETS), [leave]);
    }
    return page;
  }

  /** A planted fault: the members of pages as they are after the next commit. */
  async #readMembersLate(pages: readonly ChangePage[]): Promise<readonly ChangePage[]> {
    if (pages.some(({ members }) => members.length > 0)) await this.commit();
    return pages.map((page) => {
      const bucket = this.primary.buckets[page.bucket]!;
      const members = page.members.map((one) => ({ ...one, on: bucket.hasMember(one.post, one.metric, one.actor) }));
      return { ...page, members };
    });
  }

  #acquireLease(process: SimulatedProcess, duty: string): boolean {
    const lease = this.#leases.get(duty);
    const nowMs = this.clock.nowMs();
    if (lease !== undefined && lease.process !== process && lease.untilMs > nowMs) return false;
    this.#leases.set(duty, { process, untilMs: nowMs + LEASE_MS });
    return true;
  }

  #create(region: string): ReferenceStore {
    const nonce = (): number => this.random.below(2 ** 32);
    const incarnation = { region, epoch: 1, nonce: nonce() };
    const { records } = this.rules;
    const changeRecords = this.isEmbedded ? { ...records, isRecordFinal: () => true } : records;
    const rules = [undefined, undefined, changeRecords, () => this.clock.wallMs()] as const;
    const store = new ReferenceStore(METRICS, BUCKETS, incarnation, nonce, ...rules);
    void store.acquireLeases(this.clock.wallMs());
    return store;
  }

  /** Forgets which posts changed. */
  #reopen(): void {
    for (const bucket of this.primary.buckets) {
      if (bucket.changedPosts !== null)
        bucket.changedPosts = this.rules.reopen(bucket.changedPosts, bucket.incarnation);
    }
  }

  #buildBatch(bucket: number, operations: readonly Operation[]): Batch {
    this.#batches += 1;
    const producerId = `producer-${this.#batches}`;
    return { bucket, producerId, batchNumber: 1, atMs: this.clock.wallMs(), operations };
  }

  #randomPost(bucket: number): string {
    return this.random.pick(POSTS.filter((post) => bucketOf(post, BUCKETS) === bucket));
  }

  #randomOperations(bucket: number): Operation[] {
    return Array.from({ length: 1 + this.random.below(3) }, () => this.#randomOperation(bucket));
  }

  #randomOperation(bucket: number): Operation {
    const { random } = this;
    const base = { post: this.#randomPost(bucket), session: null, seq: 0 };
    if (random.chance(this.#viewShare))
      return { ...base, metric: VIEWS, kind: 'add', value: 1 + random.below(3), actor: null };
    const isOn = random.chance(0.6);
    if (random.chance(0.3)) return { ...base, metric: LIKES, kind: 'adjust', value: isOn ? 1 : -1, actor: null };
    return { ...base, metric: LIKES, kind: 'set', value: isOn ? 1 : 0, actor: key(random.below(ACTORS)) };
  }
}

function toMapKey(bucket: number, { epoch, nonce }: Incarnation, upTo: number): string {
  return `${bucket} ${epoch} ${nonce} ${upTo}`;
}
