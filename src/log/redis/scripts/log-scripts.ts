import { pages } from '../../../common/grouping.js';
import type { RedisClient } from '../../../store/redis/client/redis-client.js';
import { type LuaFolder, Script } from '../../../store/redis/scripts/script.js';
import type { DeadLetter, LogAppend, LogPage, PartitionStatus } from '../../event-log.js';
import { toOffset, toStreamId } from '../log-offset.js';
import { LOG_CONSTANTS } from './log-constants.js';

/** The hash of the log; the names of its other keys begin with it. docs/redis-keys.md describes them. */
export const LOG_KEY = 'tc:{log}';

/** The Lua files of the log are beside this file, in the bundle, too. */
const LUA: LuaFolder = { folder: import.meta.dirname, constants: LOG_CONSTANTS };

/** Entries, and bytes of their payloads, that one call reads: some 3 ms of the server's time. */
const CALL_ENTRIES_MAX = 500;
const CALL_BYTES_MAX = 2 ** 20;
/** Entries that one call removes: a tenth of a millisecond, or some if they are large. */
const CALL_TRIMMED_MAX = 1_000;
/** Letters that one call adds, lists or removes. */
export const CALL_LETTERS_MAX = 100;
/** Letters of a partition that are kept: about 3 MB. */
const LETTERS_MAX = 10_000;
/** Digits of an index, so that ids of one entry are in the order of their indices. */
const INDEX_DIGITS = 3;

/** One partition to be read. */
export interface ReadRequest {
  readonly partition: number;
  readonly after: number;
  readonly eventsMax: number;
}

/** The scripts of the log, as typed methods. */
export class LogScripts {
  readonly #append = new Script('append-entries-1', false, LUA);
  readonly #read = new Script('read-entries-1', false, LUA);
  readonly #trim = new Script('trim-entries-1', false, LUA);
  readonly #addDeadLetters = new Script('add-dead-letters-1', false, LUA);
  readonly #listDeadLetters = new Script('list-dead-letters-1', false, LUA);
  readonly #removeDeadLetters = new Script('remove-dead-letters-1', false, LUA);
  readonly #readStatus = new Script('read-log-status-1', false, LUA);

  /** @param newName makes a random name for a log; each call needs another one, because a log may be emptied again */
  constructor(
    private readonly client: Pick<RedisClient, 'write' | 'query'>,
    private readonly newName: () => string,
  ) {}

  /** @returns for each request an empty text, `full`, or an error of Redis */
  async append(requests: readonly (readonly LogAppend[])[], eventsMax: number): Promise<readonly string[]> {
    const args = requests.flatMap((appends) => [
      appends.length,
      ...appends.flatMap(({ partition, events, payload }) => [partition, events, payload]),
    ]);
    return (await this.client.write(this.#append, [LOG_KEY], [this.newName(), eventsMax, ...args])) as string[];
  }

  /** @returns pages of the first of these partitions, of one or more */
  async read(requests: readonly ReadRequest[]): Promise<readonly LogPage[]> {
    const args = requests.flatMap(({ partition, after, eventsMax }) => [partition, toStreamId(after), eventsMax]);
    const limits = [CALL_ENTRIES_MAX, CALL_BYTES_MAX];
    const reply = await this.client.query(this.#read, [LOG_KEY], [this.newName(), ...limits, ...args]);
    const [log, ...partitions] = reply as [string, ...[string, number, string[]][]];
    return partitions.map(([trimmedUpTo, eventsLeft, values], i) => ({
      partition: requests[i]!.partition,
      log,
      trimmedUpTo: toOffset(trimmedUpTo),
      eventsLeft,
      entries: pages(values, 3).map((entry) => {
        const [id, events, payload] = entry as [string, string, string];
        return { offset: toOffset(id), events: Number(events), payload };
      }),
    }));
  }

  /** Removes some entries. @returns whether there may be more to remove */
  async trim(log: string, partition: number, upTo: number): Promise<boolean> {
    const args = [log, partition, toStreamId(upTo), CALL_TRIMMED_MAX];
    return (await this.client.query(this.#trim, [LOG_KEY], args)) === 1;
  }

  /** @param letters at most CALL_LETTERS_MAX */
  async addDeadLetters(letters: readonly DeadLetter[]): Promise<{ added: number; dropped: number }> {
    const args = letters.flatMap((letter) => [
      letter.partition,
      letter.offset,
      toLetterId(letter),
      JSON.stringify([letter.reason, letter.event]),
    ]);
    const reply = await this.client.write(this.#addDeadLetters, [LOG_KEY], [this.newName(), LETTERS_MAX, ...args]);
    const [added, dropped] = reply as [number, number];
    return { added, dropped };
  }

  /** @param limit at most CALL_LETTERS_MAX */
  async listDeadLetters(partition: number, skipped: number, limit: number): Promise<readonly DeadLetter[]> {
    const reply = await this.client.query(this.#listDeadLetters, [LOG_KEY], [partition, skipped, limit]);
    return pages(reply as string[], 2).map((pair) => {
      const [id, letter] = pair as [string, string];
      const [offset, index] = id.split(':').map(Number) as [number, number];
      const [reason, event] = JSON.parse(letter) as [string, string];
      return { partition, offset, index, reason, event };
    });
  }

  /** @param letters at most CALL_LETTERS_MAX */
  async removeDeadLetters(letters: readonly DeadLetter[]): Promise<void> {
    const args = letters.flatMap((letter) => [letter.partition, toLetterId(letter)]);
    await this.client.write(this.#removeDeadLetters, [LOG_KEY], args);
  }

  /** @returns the name of the log, and as many partitions as it was made with */
  async readStatus(): Promise<{ log: string; partitionCount: number; partitions: readonly PartitionStatus[] }> {
    const reply = await this.client.query(this.#readStatus, [LOG_KEY], [this.newName()]);
    const [log, partitionCount, ...figures] = reply as [string, number, ...[number, number, number][]];
    const partitions = figures.map(([events, deadLetters, droppedDeadLetters], partition) => {
      return { partition, events, deadLetters, droppedDeadLetters };
    });
    return { log, partitionCount, partitions };
  }
}

function toLetterId({ offset, index }: DeadLetter): string {
  return `${offset}:${String(index).padStart(INDEX_DIGITS, '0')}`;
}
