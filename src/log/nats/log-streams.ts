import { DiscardPolicy, type JetStreamManager, type StreamConfig, type StreamInfo } from '@nats-io/jetstream';
import { isConfigurationOfAnother, isStreamNotFound } from './log-errors.js';

const DESCRIPTION = 'tallycast log ';

/** Subjects of a log. They begin with the name of its stream, so that several logs may be on one server. */
export class LogSubjects {
  readonly #root: string;

  constructor(stream: string) {
    this.#root = `tallycast_log.${stream}`;
  }

  /** @param events how many events the entry has: so the server can say how many are stored */
  entries(partition: number | '*', events: number | '*' = '*'): string {
    return `${this.#root}.entries.${partition}.${events}`;
  }

  trimmed(partition: number | '*'): string {
    return `${this.#root}.trimmed.${partition}`;
  }

  /** @param letter offset and index with a dot between them */
  dead(partition: number | '*', letter = '*.*'): string {
    return `${this.#root}.dead.${partition}.${letter}`;
  }

  /** @returns how many events an entry has; 1 where the message of another program does not say it */
  parseEvents(subject: string): number {
    const events = Number(subject.split('.').at(-1));
    return Number.isSafeInteger(events) && events > 0 ? events : 1;
  }

  /** @returns the numbers at the end of such a subject: partition and events, or partition, offset and index */
  parse(subject: string): readonly number[] {
    return subject
      .slice(this.#root.length + 1)
      .split('.')
      .slice(1)
      .map(Number);
  }
}

/**
 * The two streams of a log: one has the entries and takes no more when it is full, the other one has dead letters, and up to where
 * each partition was trimmed, one message a subject.
 */
export class LogStreams {
  readonly subjects: LogSubjects;
  readonly state: string;

  /** @param newName makes a random name */
  constructor(
    private readonly manager: JetStreamManager,
    readonly entries: string,
    private readonly bytesMax: number,
    private readonly newName: () => string,
  ) {
    this.subjects = new LogSubjects(entries);
    this.state = `${entries}_STATE`;
  }

  /**
   * Creates what is missing.
   * @returns the name of the log, and the state of the stream of entries
   * @throws Error, one line for the operator
   */
  async open(): Promise<{ readonly log: string; readonly lastSeq: number }> {
    const { subjects } = this;
    await this.#open({
      name: this.state,
      subjects: [subjects.dead('*'), subjects.trimmed('*')],
      max_msgs_per_subject: 1,
    });
    const { config, state } = await this.#open({
      name: this.entries,
      description: DESCRIPTION + this.newName(),
      subjects: [subjects.entries('*')],
      discard: DiscardPolicy.New,
      max_bytes: this.bytesMax,
    });
    return { log: this.#parseName(config), lastSeq: state.last_seq };
  }

  async #open(config: Partial<StreamConfig> & { readonly name: string }): Promise<StreamInfo> {
    const { streams } = this.manager;
    const info = await streams.info(config.name).catch(async (error: unknown) => {
      if (!isStreamNotFound(error)) throw error;
      return await streams.add(config).catch((failure: unknown) => {
        // Another gateway has created it at the same moment, with another name in its description.
        if (isConfigurationOfAnother(failure)) return streams.info(config.name);
        throw failure;
      });
    });
    requireKept(info.config, config.subjects!);
    return info;
  }

  #parseName({ description = '' }: StreamConfig): string {
    if (description.startsWith(DESCRIPTION)) return description.slice(DESCRIPTION.length);
    throw new Error(`the stream ${this.entries} is not a log of this program; name another stream`);
  }
}

/** @throws Error if a stream that somebody else has created or changed would lose entries */
function requireKept(config: StreamConfig, subjects: readonly string[]): void {
  const { name, max_age, max_msgs, discard, max_bytes, no_ack } = config;
  const problems = [
    subjects.some((subject) => !config.subjects.includes(subject)) && `its subjects are ${config.subjects.join(' ')}`,
    max_age > 0 && 'max_age is not 0',
    (max_msgs > 0 || max_bytes > 0) && discard !== DiscardPolicy.New && 'it has a limit and discard is old',
    no_ack && 'no_ack is true',
  ].filter((problem) => typeof problem === 'string');
  if (problems.length === 0) return;
  throw new Error(
    `the stream ${name} does not keep every entry: ${problems.join(', ')}; mend it, or name another stream`,
  );
}
