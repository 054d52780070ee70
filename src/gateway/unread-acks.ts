import type { Clock } from '../common/clock.js';
import type { EngineSocket } from './transport/engine-internals.js';
import { readUnsentPackets } from './transport/direct-socket.js';
import { type Intake, UNREAD_ACKS } from './intake.js';
import type { Shortcuts } from './transport/shortcuts.js';

/**
 * Answers that may wait for a client; with more, one that reads nothing for UNREAD_MS is cut. Time decides and not the
 * number alone: a commit answers thousands at once, and nothing leaves before all have been written.
 */
export const UNREAD_MAX = 1_000;
const UNREAD_MS = 2_000;
/**
 * Bytes of answers that may wait for a client. With more, nothing is read of it until half of them have left, and it is
 * watched as above: an answer to `subscribe` has up to 53 KB, and was asked for in a few bytes.
 */
const UNREAD_BYTES_MAX = 2 ** 20;
/** More than that is waiting only if the client has asked for a great deal and reads nothing of it: it is cut at once. */
const UNREAD_BYTES_LIMIT = 16 * 2 ** 20;
const UNCOMPRESSED = { compress: false };

/** The answers that wait for one client to read them, while they cannot be written straight to its socket. */
export class UnreadAcks {
  /** Answers that Engine.IO has not sent yet. */
  #count = 0;
  #bytes = 0;
  #watched = false;

  constructor(
    private readonly connection: EngineSocket,
    private readonly clock: Clock,
    private readonly shortcuts: Shortcuts,
    private readonly intake: Intake,
    private readonly cut: () => void,
  ) {}

  /** @param answers ASCII; at least one */
  write(answers: readonly string[]): void {
    let bytes = 0;
    for (const answer of answers) bytes += answer.length;
    this.#count += answers.length;
    this.#bytes += bytes;
    const last = answers.length - 1;
    for (let i = 0; i < last; i++) this.connection.write(answers[i]!, UNCOMPRESSED);
    this.connection.write(answers[last]!, UNCOMPRESSED, () => this.#sent(answers.length, bytes));
    if (this.#bytes > UNREAD_BYTES_LIMIT) this.cut();
    else this.watch();
  }

  /** To be called when something was handed to Engine.IO. */
  watch(): void {
    if (this.#bytes > UNREAD_BYTES_MAX) this.intake.pause(UNREAD_ACKS);
    const { count, next } = this.#unsent();
    if (this.#watched || (count <= UNREAD_MAX && this.#bytes <= UNREAD_BYTES_MAX)) return;
    this.#watched = true;
    const bytes = this.#bytes;
    this.clock.after(UNREAD_MS, () => {
      this.#watched = false;
      const now = this.#unsent();
      // Nothing of what waited has been sent: the first packet is the same, or no answer fewer waits.
      if (now.next === next && now.count >= count && this.#bytes >= bytes) this.cut();
      else this.watch();
    });
  }

  #sent(count: number, bytes: number): void {
    this.#count -= count;
    this.#bytes -= bytes;
    if (this.#bytes <= UNREAD_BYTES_MAX / 2) this.intake.resume(UNREAD_ACKS);
  }

  /** How many packets wait for the client, and the first of them if it can be seen. */
  #unsent(): { readonly count: number; readonly next: unknown } {
    const packets = readUnsentPackets(this.connection, this.shortcuts.unsentPackets);
    return packets === null ? { count: this.#count, next: null } : { count: packets.length, next: packets[0] };
  }
}
