import type { PostCounts } from '../../counters/batch.js';
import type { CopyPosition } from '../../counters/changed-posts.js';
import type { ChangePage, ChangeStore, CountsPage } from '../change-store.js';
import type { ChangeScripts, CollectRequest } from './change-scripts.js';
import { buildPostCounts } from './codec/changed-posts-decoder.js';
import type { RecordsPage } from './codec/records-decoder.js';
import type { CounterScripts } from './counter-scripts.js';

/** Changed posts of the counters in Redis, for copies in other systems. docs/redis-keys.md describes its keys. */
export class RedisChangeStore implements ChangeStore {
  constructor(
    private readonly scripts: ChangeScripts,
    private readonly counterScripts: Pick<CounterScripts, 'open'>,
  ) {}

  acquireLease(duty: string): Promise<boolean> {
    return this.scripts.acquireLease(duty);
  }

  async changesSince(requests: readonly CollectRequest[], limit: number): Promise<readonly ChangePage[]> {
    const found = new Map<CollectRequest, ChangePage>();
    await Promise.all(
      this.scripts.groupForCalls(requests).map(async (group) => {
        for (let left = group; left.length > 0; left = left.filter((request) => !found.has(request))) {
          const read = await this.scripts.collect(left, limit);
          for (const [i, page] of read.entries()) if (page !== undefined) found.set(left[i]!, page);
        }
      }),
    );
    return requests.map((request) => found.get(request)!);
  }

  stopRecording(): Promise<void> {
    return this.scripts.stopRecording();
  }

  isRecording(): Promise<boolean> {
    return this.scripts.isRecording();
  }

  /**
   * Reads chunk by chunk. A post moves only to chunks with higher numbers, so none is missed.
   * @param cursor `bucket chunk`
   */
  async readAll(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<CountsPage> {
    const order = [...buckets].sort((a, b) => a - b);
    const [first = 0, firstChunk = 0] = cursor === '' ? [] : cursor.split(' ').map(Number);
    const posts: PostCounts[] = [];
    let bucket = order.find((one) => one >= first);
    let chunk = bucket === first ? firstChunk : 0;
    while (bucket !== undefined && posts.length < limit) {
      const { records, incarnation, chunks } = await this.#readChunk(bucket, chunk);
      for (const [post, record] of records) {
        if (record.version > 0) posts.push(buildPostCounts(post, record, incarnation, this.scripts.context));
      }
      chunk += 1;
      if (chunk < chunks) continue;
      const last: number = bucket;
      bucket = order.find((one) => one > last);
      chunk = 0;
    }
    return { posts, next: bucket === undefined ? null : `${bucket} ${chunk}` };
  }

  readPositions(copy: string): Promise<ReadonlyMap<number, CopyPosition>> {
    return this.scripts.readPositions(copy);
  }

  savePositions(copy: string, positions: ReadonlyMap<number, CopyPosition>): Promise<void> {
    return this.scripts.savePositions(copy, positions);
  }

  async #readChunk(bucket: number, chunk: number): Promise<RecordsPage> {
    const page = await this.scripts.readChunk(bucket, chunk);
    if (page.isCurrent) return page;
    await this.counterScripts.open(bucket);
    return await this.scripts.readChunk(bucket, chunk);
  }
}
