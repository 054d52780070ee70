import type { Metrics } from '../../../counters/metrics.js';
import type { RedisPostRecord } from '../codec/redis-post-record.js';
import type { MemberChunk, ReplicationScripts, StampedMember } from './replication-scripts.js';

/** Members that one call reads: about a millisecond of the server's time. */
const CALL_MEMBERS_MAX = 1_000;
/** How often a read is repeated when a set was split into more chunks meanwhile. */
const ATTEMPTS = 5;

type Records = ReadonlyMap<string, RedisPostRecord>;

/** Members by toggle: `post metric`. */
export type StampedMembers = ReadonlyMap<string, readonly StampedMember[]>;

class ChunksSplitError extends Error {}

/** Reads all members of posts. */
export class MemberReader {
  readonly #toggles: readonly number[];

  constructor(
    private readonly scripts: ReplicationScripts,
    metrics: Metrics,
  ) {
    this.#toggles = metrics.list.filter(({ kind }) => kind.hasMembers).map(({ index }) => index);
  }

  /** @param readRecords  called once more each time that a set was split while it was read */
  async readMembers(bucket: number, readRecords: () => Promise<Records>): Promise<StampedMembers> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#readAll(bucket, await readRecords());
      } catch (error) {
        if (!(error instanceof ChunksSplitError) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #readAll(bucket: number, records: Records): Promise<StampedMembers> {
    const found = new Map<string, StampedMember[]>();
    let chunks: MemberChunk[] = [];
    let members = 0;
    const readChunks = async (): Promise<void> => {
      if (chunks.length > 0) await this.#readChunks(bucket, chunks, found);
      chunks = [];
      members = 0;
    };
    for (const [post, record] of records) {
      for (const metric of this.#toggles) {
        if (record.memberCount(metric) === 0) continue;
        const count = record.chunkCount(metric);
        found.set(`${post} ${metric}`, []);
        for (let chunk = 0; chunk < count; chunk++) {
          if (members >= CALL_MEMBERS_MAX) await readChunks();
          chunks.push({ post, metric, chunk, chunks: count });
          members += record.memberCount(metric) / count;
        }
      }
    }
    await readChunks();
    return found;
  }

  async #readChunks(
    bucket: number,
    chunks: readonly MemberChunk[],
    found: ReadonlyMap<string, StampedMember[]>,
  ): Promise<void> {
    const read = await this.scripts.readMembers(bucket, chunks);
    for (const [i, { post, metric }] of chunks.entries()) {
      const members = read[i];
      if (members == null) throw new ChunksSplitError(`the members of ${post} and metric ${metric} were split again`);
      const all = found.get(`${post} ${metric}`)!;
      for (const member of members) all.push(member);
    }
  }
}
