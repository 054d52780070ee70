/** A reply about one of several buckets that begins with it is an error; no msgpack integer does. */
export const ERROR_PREFIX = '-';

/** What is asked of a bucket, as a script is given it. */
export interface ScriptCall {
  readonly bucket: number;
  readonly packed: Buffer;
}

/** Asks about several buckets by one call. @returns the answer to each, in their order */
type Call = (asked: readonly ScriptCall[]) => Promise<readonly Buffer[]>;

interface QueuedCall extends ScriptCall {
  readonly resolve: (answer: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** What is asked of buckets in one turn leaves together, where one server has all of them. */
export class CallCoalescer {
  #open: QueuedCall[] = [];
  #things = 0;

  constructor(
    /** Whether one call may be about several buckets. */
    private readonly together: boolean,
    /** That one call carries at most, unless a single question has more. */
    private readonly thingsMax: number,
    private readonly call: Call,
  ) {}

  /** Rejects when it is not known what has become of it, or when the script has refused it and changed nothing. */
  enqueue(bucket: number, packed: Buffer, things: number): Promise<Buffer> {
    if (this.#things + things > this.thingsMax) this.#send();
    return new Promise((answered, failed) => {
      // What waits leaves after this turn; whatever is asked until then joins it.
      if (this.#open.length === 0) process.nextTick(() => this.#send());
      this.#open.push({ bucket, packed, resolve: answered, reject: failed });
      this.#things += things;
      if (!this.together) this.#send();
    });
  }

  #send(): void {
    const asked = this.#open;
    if (asked.length === 0) return;
    this.#open = [];
    this.#things = 0;
    this.call(asked).then(
      (answers) => {
        for (const [i, one] of asked.entries()) resolveCall(one, answers[i]!);
      },
      (error: unknown) => {
        for (const one of asked) one.reject(error as Error);
      },
    );
  }
}

function resolveCall({ resolve: answered, reject: failed }: QueuedCall, answer: Buffer): void {
  const error = scriptError(answer);
  if (error === null) answered(answer);
  else failed(error);
}

/** What a script says was wrong with one of several buckets; `null`: nothing. */
export function scriptError(answer: Buffer): Error | null {
  return answer[0] === ERROR_PREFIX.charCodeAt(0) ? new Error(answer.toString('utf8', 1)) : null;
}
