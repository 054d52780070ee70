import { groupBy } from '../../src/common/grouping.js';
import {
  type DeadLetter,
  type EventLog,
  type LogAppend,
  type LogEntry,
  LogFullError,
  LOG_PARTITIONS,
  type LogPage,
  type PartitionStatus,
} from '../../src/log/event-log.js';

/** Letters that a partition keeps. */
const LETTERS_MAX = 10_000;
/** Offsets of one incarnation. */
const INCARNATION_OFFSETS = 2 ** 21;

interface Partition {
  readonly entries: readonly LogEntry[];
  readonly lastOffset: number;
  readonly trimmedUpTo: number;
  /** By offset and index, in the order of their offsets. */
  readonly letters: ReadonlyMap<string, DeadLetter>;
  readonly droppedLetters: number;
}

interface Contents {
  readonly name: string;
  readonly incarnation: number;
  readonly partitions: readonly Partition[];
}

export interface MemoryLogOptions {
  readonly eventsMax: number;
  readonly newName: () => string;
  /** Whether an append resolves only when a replica has it. */
  readonly isReplicated: boolean;
  /** The incarnation of a server that starts, after this one; larger than all before, also than those that were lost. */
  readonly nextIncarnation: (last: number) => number;
  readonly appended?: (partition: number, entry: LogEntry) => void;
}

const NO_ENTRIES: Partition = {
  entries: [],
  lastOffset: 0,
  trimmedUpTo: 0,
  letters: new Map(),
  droppedLetters: 0,
};

/** A log in memory with a replica: the meaning of EventLog that every log has to equal. */
export class MemoryLog implements EventLog {
  readonly available = true;
  readonly url = 'memory://log';
  readonly stats = { appendedEvents: 0, deadLetters: 0, droppedDeadLetters: 0 };
  #contents: Contents;
  #replica: Contents;

  constructor(private readonly options: MemoryLogOptions) {
    this.#contents = this.#replica = this.#create();
  }

  get name(): string {
    return this.#contents.name;
  }

  get isReplicated(): boolean {
    return this.options.isReplicated;
  }

  entriesOf(partition: number): readonly LogEntry[] {
    return this.#contents.partitions[partition]!.entries;
  }

  append(appends: readonly LogAppend[]): Promise<void> {
    const events = appends.reduce((sum, one) => sum + one.events, 0);
    if (this.#events + events > this.options.eventsMax) return Promise.reject(new LogFullError(this.options.eventsMax));
    for (const { partition, events: count, payload } of appends) {
      const { entries, lastOffset } = this.#contents.partitions[partition]!;
      const first = this.#contents.incarnation * INCARNATION_OFFSETS;
      const offset = Math.max(lastOffset, first) + 1;
      const entry = { offset, events: count, payload };
      this.#update(partition, { entries: [...entries, entry], lastOffset: offset });
      this.options.appended?.(partition, entry);
    }
    this.stats.appendedEvents += events;
    if (this.options.isReplicated) this.replicate();
    return Promise.resolve();
  }

  read(
    requests: readonly { readonly partition: number; readonly after: number }[],
    eventsMax: number,
  ): Promise<readonly LogPage[]> {
    const pages = requests.map(({ partition, after }): LogPage => {
      const { entries, trimmedUpTo } = this.#contents.partitions[partition]!;
      const following = entries.filter(({ offset }) => offset > after);
      let events = 0;
      const end = following.findIndex((entry) => (events += entry.events) >= eventsMax);
      const page = end === -1 ? following : following.slice(0, end + 1);
      const eventsLeft = countEvents(following.slice(page.length));
      return { partition, log: this.name, trimmedUpTo, entries: page, eventsLeft };
    });
    return Promise.resolve(pages);
  }

  trim(log: string, partition: number, upTo: number): Promise<void> {
    const { entries, trimmedUpTo } = this.#contents.partitions[partition]!;
    const trimmed = entries.findLast(({ offset }) => offset <= upTo);
    if (log === this.name && trimmed !== undefined) {
      const left = entries.filter(({ offset }) => offset > upTo);
      this.#update(partition, { entries: left, trimmedUpTo: Math.max(trimmedUpTo, trimmed.offset) });
    }
    return Promise.resolve();
  }

  addDeadLetters(letters: readonly DeadLetter[]): Promise<void> {
    for (const [partition, group] of groupBy(letters, (letter) => letter.partition)) {
      const { letters: present, droppedLetters } = this.#contents.partitions[partition]!;
      const all = new Map([...present, ...group.map((letter) => [toMapKey(letter), letter] as const)]);
      const kept = [...all].sort(([, a], [, b]) => a.offset - b.offset || a.index - b.index).slice(-LETTERS_MAX);
      const dropped = all.size - kept.length;
      this.#update(partition, { letters: new Map(kept), droppedLetters: droppedLetters + dropped });
      this.stats.deadLetters += all.size - present.size;
      this.stats.droppedDeadLetters += dropped;
    }
    if (this.options.isReplicated) this.replicate();
    return Promise.resolve();
  }

  listDeadLetters(partition: number, limit: number): Promise<readonly DeadLetter[]> {
    return Promise.resolve([...this.#contents.partitions[partition]!.letters.values()].slice(0, limit));
  }

  removeDeadLetters(letters: readonly DeadLetter[]): Promise<void> {
    for (const letter of letters) {
      const left = new Map(this.#contents.partitions[letter.partition]!.letters);
      left.delete(toMapKey(letter));
      this.#update(letter.partition, { letters: left });
    }
    return Promise.resolve();
  }

  status(): ReturnType<EventLog['status']> {
    const partitions = this.#contents.partitions.map(
      ({ entries, letters, droppedLetters }, partition): PartitionStatus => {
        return {
          partition,
          events: countEvents(entries),
          deadLetters: letters.size,
          droppedDeadLetters: droppedLetters,
        };
      },
    );
    return Promise.resolve({ log: this.name, eventsMax: this.options.eventsMax, partitions });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  replicate(): void {
    this.#replica = this.#contents;
  }

  /** The server restarts with all that it had. */
  restart(): void {
    const incarnation = this.options.nextIncarnation(this.#contents.incarnation);
    this.#contents = { ...this.#contents, incarnation };
  }

  /** The replica takes over. @returns the entries that it lacks */
  failOver(): LogEntry[] {
    const before = this.#contents;
    this.#contents = this.#replica;
    this.restart();
    this.replicate();
    return before.partitions.flatMap(({ entries }, partition) => {
      const kept = new Set(this.entriesOf(partition));
      return entries.filter((entry) => !kept.has(entry));
    });
  }

  /** Everything in it is removed. @returns the entries that it had */
  empty(): LogEntry[] {
    const lost = this.#contents.partitions.flatMap(({ entries }) => entries);
    this.#contents = this.#replica = this.#create();
    return lost;
  }

  get #events(): number {
    return this.#contents.partitions.reduce((sum, { entries }) => sum + countEvents(entries), 0);
  }

  #create(): Contents {
    const partitions = Array.from({ length: LOG_PARTITIONS }, () => NO_ENTRIES);
    return { name: this.options.newName(), incarnation: this.options.nextIncarnation(0), partitions };
  }

  #update(partition: number, changes: Partial<Partition>): void {
    const partitions = this.#contents.partitions.with(partition, {
      ...this.#contents.partitions[partition]!,
      ...changes,
    });
    this.#contents = { ...this.#contents, partitions };
  }
}

function countEvents(entries: readonly LogEntry[]): number {
  return entries.reduce((sum, { events }) => sum + events, 0);
}

function toMapKey({ offset, index }: DeadLetter): string {
  return `${offset}:${index}`;
}
