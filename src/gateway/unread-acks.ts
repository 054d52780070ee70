import type { Clock } from '../common/clock.js';
import type { EngineSocket } from './transport/engine-internals.js';
import { readUnsentPackets } from './transport/direct-socket.js';
import { type FlowControl, UNREAD_ACKS } from './connection-flow-control.js';
import type { Shortcuts } from './transport/shortcuts.js';

/**
 * Acknowledgements that may wait for a client. With more, a client that reads nothing for UNREAD_MS is disconnected. The
 * number alone does not decide, because a commit acknowledges thousands at once, and none is sent before all are written.
 */
export const UNREAD_MAX = 1_000;
const UNREAD_MS = 2_000;
/**
 * Bytes of acknowledgements that may wait for a client. With more, the client is not read until half of them are sent, and it
 * is watched as above: the response to `subscribe` has up to 53 KB for a request of a few bytes.
 */
const UNREAD_BYTES_MAX = 2 ** 20;
/** More bytes wait only if the client requests a great deal and reads none of it. It is disconnected at once. */
const UNREAD_BYTES_LIMIT = 16 * 2 ** 20;
const UNCOMPRESSED = { compress: false };

/** Acknowledgements that wait for one client to read, when they cannot be written to its socket directly. */
export class UnreadAcks {
  /** Acknowledgements that Engine.IO has not sent yet. */
  #count = 0;
  #bytes = 0;
  #isWatched = false;

  constructor(
    private readonly connection: EngineSocket,
    private readonly clock: Clock,
    private readonly shortcuts: Shortcuts,
    private readonly flowControl: FlowControl,
    private readonly disconnect: () => void,
  ) {}

  /** @param packets ASCII; at least one */
  write(packets: readonly string[]): void {
    let bytes = 0;
    for (const packet of packets) bytes += packet.length;
    this.#count += packets.length;
    this.#bytes += bytes;
    const last = packets.length - 1;
    for (let i = 0; i < last; i++) this.connection.write(packets[i]!, UNCOMPRESSED);
    this.connection.write(packets[last]!, UNCOMPRESSED, () => this.#sent(packets.length, bytes));
    if (this.#bytes > UNREAD_BYTES_LIMIT) this.disconnect();
    else this.watch();
  }

  /** To be called after a packet was written to Engine.IO. */
  watch(): void {
    if (this.#bytes > UNREAD_BYTES_MAX) this.flowControl.pause(UNREAD_ACKS);
    const { count, next } = this.#unsent();
    if (this.#isWatched || (count <= UNREAD_MAX && this.#bytes <= UNREAD_BYTES_MAX)) return;
    this.#isWatched = true;
    const bytes = this.#bytes;
    this.clock.after(UNREAD_MS, () => {
      this.#isWatched = false;
      const now = this.#unsent();
      // None of the waiting packets has been sent: the first one is the same, or as many are waiting.
      if (now.next === next && now.count >= count && this.#bytes >= bytes) this.disconnect();
      else this.watch();
    });
  }

  #sent(count: number, bytes: number): void {
    this.#count -= count;
    this.#bytes -= bytes;
    if (this.#bytes <= UNREAD_BYTES_MAX / 2) this.flowControl.resume(UNREAD_ACKS);
  }

  /** @returns the number of waiting packets, and the first of them if Engine.IO's list can be read */
  #unsent(): { readonly count: number; readonly next: unknown } {
    const packets = readUnsentPackets(this.connection, this.shortcuts.unsentPackets);
    return packets === null ? { count: this.#count, next: null } : { count: packets.length, next: packets[0] };
  }
}
