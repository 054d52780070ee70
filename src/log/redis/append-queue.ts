import type { Clock } from '../../common/clock.js';
import { type LogAppend, LogFullError } from '../event-log.js';

/** Entries, and characters of their payloads, of one call: about a millisecond of the server's time. */
const CALL_ENTRIES_MAX = 300;
const CALL_CHARACTERS_MAX = 2 ** 19;
/** Characters of payloads without a reply. Beyond it the server does not keep up. */
const WAITING_CHARACTERS_MAX = 2 ** 25;

/** Appends requests. @returns for each an empty text, `full`, or an error of Redis */
type CallScript = (requests: readonly (readonly LogAppend[])[]) => Promise<readonly string[]>;

interface QueuedRequest {
  readonly appends: readonly LogAppend[];
  readonly characters: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Coalesces the requests of one turn of the event loop into calls of one script. */
export class AppendQueue {
  #queue: QueuedRequest[] = [];
  #queuedEntries = 0;
  #queuedCharacters = 0;
  #waitingCharacters = 0;

  constructor(
    private readonly clock: Pick<Clock, 'soon'>,
    private readonly eventsMax: number,
    private readonly callScript: CallScript,
  ) {}

  /** @throws LogFullError; other errors mean that the outcome is unknown */
  append(appends: readonly LogAppend[]): Promise<void> {
    const characters = appends.reduce((sum, { payload }) => sum + payload.length, 0);
    if (this.#waitingCharacters + characters > WAITING_CHARACTERS_MAX) {
      return Promise.reject(new Error(`the log does not keep up: ${WAITING_CHARACTERS_MAX >> 20} MiB wait`));
    }
    const entries = this.#queuedEntries + appends.length;
    const isTooLarge = entries > CALL_ENTRIES_MAX || this.#queuedCharacters + characters > CALL_CHARACTERS_MAX;
    if (isTooLarge) this.#send();
    return new Promise((resolve, reject) => {
      if (this.#queue.length === 0) this.clock.soon(() => this.#send());
      this.#queue.push({ appends, characters, resolve, reject });
      this.#queuedEntries += appends.length;
      this.#queuedCharacters += characters;
      this.#waitingCharacters += characters;
    });
  }

  #send(): void {
    const requests = this.#queue;
    if (requests.length === 0) return;
    const characters = this.#queuedCharacters;
    this.#queue = [];
    this.#queuedEntries = 0;
    this.#queuedCharacters = 0;
    const call = this.callScript(requests.map(({ appends }) => appends));
    call
      .then(
        (replies) => {
          for (const [i, request] of requests.entries()) this.#settle(request, replies[i]!);
        },
        (error: unknown) => {
          for (const { reject } of requests) reject(error as Error);
        },
      )
      .finally(() => (this.#waitingCharacters -= characters));
  }

  #settle({ resolve, reject }: QueuedRequest, reply: string): void {
    if (reply === '') resolve();
    else reject(reply === 'full' ? new LogFullError(this.eventsMax) : new Error(reply));
  }
}
