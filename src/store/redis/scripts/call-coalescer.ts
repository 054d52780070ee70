/** A reply about one of several buckets that begins with it is an error. Others begin with another integer than 45, which is this byte. */
export const ERROR_PREFIX = '-';

/** The argument of a script about one bucket. */
export interface ScriptCall {
  readonly bucket: number;
  readonly packed: Buffer;
}

/** Calls the script about several buckets. @returns the reply about each, in their order */
type CallScript = (calls: readonly ScriptCall[]) => Promise<readonly Buffer[]>;

interface QueuedCall extends ScriptCall {
  readonly resolve: (reply: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** Coalesces the calls of one event-loop turn into one, where one server has all buckets. */
export class CallCoalescer {
  #queue: QueuedCall[] = [];
  #queuedCost = 0;

  constructor(
    /** Whether one call may be about several buckets. */
    private readonly coalesces: boolean,
    /** Cost of one call at most, unless a single one costs more. */
    private readonly costMax: number,
    private readonly callScript: CallScript,
  ) {}

  /**
   * @param cost e.g. operations
   * @returns rejects when the outcome is unknown, or when the script has failed and changed nothing
   */
  enqueue(bucket: number, packed: Buffer, cost: number): Promise<Buffer> {
    if (this.#queuedCost + cost > this.costMax) this.#send();
    return new Promise((resolve, reject) => {
      // Calls are sent after this turn, together with those that are enqueued until then.
      if (this.#queue.length === 0) process.nextTick(() => this.#send());
      this.#queue.push({ bucket, packed, resolve, reject });
      this.#queuedCost += cost;
      if (!this.coalesces) this.#send();
    });
  }

  #send(): void {
    const calls = this.#queue;
    if (calls.length === 0) return;
    this.#queue = [];
    this.#queuedCost = 0;
    this.callScript(calls).then(
      (replies) => {
        for (const [i, call] of calls.entries()) resolveCall(call, replies[i]!);
      },
      (error: unknown) => {
        for (const call of calls) call.reject(error as Error);
      },
    );
  }
}

function resolveCall({ resolve, reject }: QueuedCall, reply: Buffer): void {
  const error = scriptError(reply);
  if (error === null) resolve(reply);
  else reject(error);
}

/** @returns the error in a reply about one of several buckets; `null` if it has none */
export function scriptError(reply: Buffer): Error | null {
  return reply[0] === ERROR_PREFIX.charCodeAt(0) ? new Error(reply.toString('utf8', 1)) : null;
}
