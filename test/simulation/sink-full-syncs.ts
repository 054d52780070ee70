import { FullSyncRun } from '../../src/sinks/full-sync-run.js';
import type { BucketWrite } from '../../src/sinks/sink.js';
import type { ChangePage, ChangeStore } from '../../src/store/change-store.js';
import { memberKey } from './sink-members.js';

/** A full sync that goes on when the incarnation of a bucket is over. */
export class ContinuedRun extends FullSyncRun {
  override take(page: ChangePage): BucketWrite | null {
    this.add({ ...page, upTo: this.upTo(page.bucket)! });
    return super.take(page);
  }
}

/** A full sync that reads changes before posts. */
export class EarlyRun extends FullSyncRun {
  readonly #added = new Set<number>();
  #changes = new Map<number, ChangePage>();

  constructor(
    private readonly changes: Pick<ChangeStore, 'changesSince' | 'readAll' | 'readMembers'>,
    buckets: number,
    private readonly collectsMembers: boolean,
  ) {
    super(changes, buckets, collectsMembers);
  }

  override add(page: ChangePage): void {
    this.#added.add(page.bucket);
    super.add(page);
  }

  override async readPage(): Promise<void> {
    const requests = [...this.#added].flatMap((bucket) => {
      const after = this.upTo(bucket);
      return after === undefined ? [] : [{ bucket, after }];
    });
    const pages = await this.changes.changesSince(requests, { limit: 500, withMembers: this.collectsMembers });
    this.#changes = new Map(pages.map((page) => [page.bucket, page]));
    await super.readPage();
  }

  override take(page: ChangePage): BucketWrite | null {
    const earlier = this.#changes.get(page.bucket) ?? page;
    this.#changes.delete(page.bucket);
    return super.take(earlier);
  }
}

/** A full sync that reads the posts without their milestones. */
export class CountsRun extends FullSyncRun {
  constructor(store: Pick<ChangeStore, 'readAll' | 'readMembers'>, buckets: number, withMembers: boolean) {
    const readAll: ChangeStore['readAll'] = async (bucketSet, cursor, limit) => ({
      ...(await store.readAll(bucketSet, cursor, limit)),
      milestones: [],
    });
    super(
      { readAll, readMembers: (posts, cursor, limit) => store.readMembers(posts, cursor, limit) },
      buckets,
      withMembers,
    );
  }
}

/** A full sync in which the members of a page are on, whatever their changes say. */
export class OverwritingRun extends FullSyncRun {
  readonly #read: Set<string>;

  constructor(store: Pick<ChangeStore, 'readAll' | 'readMembers'>, buckets: number, withMembers: boolean) {
    const read = new Set<string>();
    const readMembers: ChangeStore['readMembers'] = async (posts, cursor, limit) => {
      const page = await store.readMembers(posts, cursor, limit);
      for (const member of page.members) read.add(memberKey(member));
      return page;
    };
    const readAll: ChangeStore['readAll'] = (bucketSet, cursor, limit) => store.readAll(bucketSet, cursor, limit);
    super({ readAll, readMembers }, buckets, withMembers);
    this.#read = read;
  }

  override async readPage(): Promise<void> {
    this.#read.clear();
    await super.readPage();
  }

  override take(page: ChangePage): BucketWrite | null {
    const write = super.take(page);
    return (
      write && {
        ...write,
        members: write.members.map((one) => ({ ...one, on: one.on || this.#read.has(memberKey(one)) })),
      }
    );
  }
}

/** A full sync that ends without the posts that no page has. */
export class PagesOnlyRun extends FullSyncRun {
  readonly #read: Set<string>;

  constructor(store: Pick<ChangeStore, 'readAll' | 'readMembers'>, buckets: number, withMembers: boolean) {
    const read = new Set<string>();
    const readMembers: ChangeStore['readMembers'] = (posts, cursor, limit) => {
      for (const post of posts) read.add(post);
      return store.readMembers(posts, cursor, limit);
    };
    const readAll: ChangeStore['readAll'] = (bucketSet, cursor, limit) => store.readAll(bucketSet, cursor, limit);
    super({ readAll, readMembers }, buckets, withMembers);
    this.#read = read;
  }

  override take(page: ChangePage): BucketWrite | null {
    const write = super.take(page);
    return write && { ...write, postsWithAllMembers: write.postsWithAllMembers.filter((post) => this.#read.has(post)) };
  }
}
