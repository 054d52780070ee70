import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Suspicions } from '../access/suspicions.js';
import type { Intake } from './intake.js';

/**
 * What a WebSocket may send before its handshake is over: a token, and the packets around it. Less than the 256 KiB of
 * later, and enough that a handshake over 16 KiB can be answered.
 */
const BYTES_MAX = 64 * 1024;
/** In so many pieces at most, each of which is an object: of a message that is not complete, `ws` keeps them all. */
const PIECES_MAX = 64;
/** Of all such connections together; who sends more then is ended. */
const BYTES_MAX_OF_ALL = 32 * 2 ** 20;

interface Watched {
  bytes: number;
  pieces: number;
  /** Stops watching. */
  end: () => void;
}

/** Bounds the bytes of WebSockets that are not through their handshake, for each and for all together. */
export class UnprovedBytes {
  readonly #watched = new WeakMap<Intake, Set<Watched>>();
  #all = 0;

  constructor(private readonly suspicions: Suspicions) {}

  watch(intake: Intake, webSocket: WebSocket, tcp: Duplex): void {
    const all = this.#watched.get(intake) ?? new Set();
    this.#watched.set(intake, all);
    const count = (chunk: Buffer): void => {
      watched.bytes += chunk.length;
      watched.pieces += 1;
      this.#all += chunk.length;
      if (watched.bytes <= BYTES_MAX && watched.pieces <= PIECES_MAX && this.#all <= BYTES_MAX_OF_ALL) return;
      this.suspicions.add('fragments', intake.address);
      watched.end();
      webSocket.terminate();
    };
    const watched: Watched = {
      bytes: 0,
      pieces: 0,
      end: () => {
        if (!all.delete(watched)) return;
        this.#all -= watched.bytes;
        tcp.off('data', count);
        webSocket.off('close', watched.end);
      },
    };
    all.add(watched);
    tcp.on('data', count);
    webSocket.on('close', watched.end);
  }

  /** The connection is through its handshake. */
  end(intake: Intake): void {
    for (const { end } of this.#watched.get(intake) ?? []) end();
    this.#watched.delete(intake);
  }
}
