/**
 * Partitions of a log. The events of a bucket are in partition `bucket mod LOG_PARTITIONS`, in the order in which they were appended.
 * Fixed: another number would move buckets to partitions in which their position means nothing.
 */
export const LOG_PARTITIONS = 16;

/** The events of one request for one partition: appended, read and trimmed as a whole. */
export interface LogAppend {
  readonly partition: number;
  /** How many events are in `payload`, 1 or more. */
  readonly events: number;
  /** src/log/log-entry.ts encodes it. */
  readonly payload: string;
}

export interface LogEntry {
  /**
   * An integer that grows within a partition, and is never used again, also after a failover of the log that lost entries: an event whose
   * offset the store has passed is skipped. A server that counts its incarnations from the last one that it has recorded may use a number
   * twice, because a restarted server may be lost before its replica has heard of the restart. Numbers that contain the time do not.
   */
  readonly offset: number;
  readonly events: number;
  readonly payload: string;
}

export interface LogPage {
  readonly partition: number;
  /** Random, made with the log. Another name means that the log was emptied and that its offsets start from the first again. */
  readonly log: string;
  /** Entries up to this offset were trimmed; 0: none. */
  readonly trimmedUpTo: number;
  /** The oldest entries after the requested offset, without a gap. */
  readonly entries: readonly LogEntry[];
  /** How many events the partition has after these entries, or entries where a log counts these; 0: none. */
  readonly eventsLeft: number;
}

/** An event that cannot be counted. */
export interface DeadLetter {
  readonly partition: number;
  /** The offset of its entry. */
  readonly offset: number;
  /** Its place within its entry; 0 for an entry that cannot be decoded at all. */
  readonly index: number;
  /** One line. */
  readonly reason: string;
  /** The event, or the payload of an entry that cannot be decoded. */
  readonly event: string;
}

/** One partition, for metrics and `tallycast log status`. */
export interface PartitionStatus {
  readonly partition: number;
  /** Events that are stored, the applied ones that are kept for a while included. */
  readonly events: number;
  readonly deadLetters: number;
  /** Dead letters that were dropped because there were too many. */
  readonly droppedDeadLetters: number;
}

export interface LogStatus {
  readonly log: string;
  readonly eventsMax: number;
  readonly partitions: readonly PartitionStatus[];
}

/** Figures of this gateway since its boot, for metrics. */
export interface LogStats {
  readonly appendedEvents: number;
  /** Each letter once, also when it was replaced. */
  readonly deadLetters: number;
  readonly droppedDeadLetters: number;
}

/**
 * The port to where events wait to be counted. Appended entries stay until they are trimmed. Nothing here knows counters.
 * All methods reject when the log does not respond; each may then be called again.
 */
export interface EventLog {
  /**
   * Appends all or nothing, and resolves when that is durable.
   * @throws LogFullError when the log holds as many events as it may: nothing was appended
   * @throws Error when the outcome is unknown
   */
  append(appends: readonly LogAppend[]): Promise<void>;

  /** @param eventsMax of a partition, about: a page ends with the entry that exceeds it */
  read(
    requests: readonly { readonly partition: number; readonly after: number }[],
    eventsMax: number,
  ): Promise<readonly LogPage[]>;

  /** Removes entries up to an offset of the log of this name; does nothing in another one. */
  trim(log: string, partition: number, upTo: number): Promise<void>;

  /** Adds letters, or replaces those of the same partition, offset and index. Keeps the newest of each partition. */
  addDeadLetters(letters: readonly DeadLetter[]): Promise<void>;

  /** Oldest first. */
  listDeadLetters(partition: number, limit: number): Promise<readonly DeadLetter[]>;

  removeDeadLetters(letters: readonly DeadLetter[]): Promise<void>;

  status(): Promise<LogStatus>;

  /** Whether its server responds. */
  readonly available: boolean;

  /** Where it is, without a login. */
  readonly url: string;

  readonly stats: LogStats;

  close(): Promise<void>;
}

/** The log holds as many events as it may. */
export class LogFullError extends Error {
  constructor(eventsMax: number) {
    super(`the log is full: it holds ${eventsMax} events at most (LOG_MAX)`);
  }
}
