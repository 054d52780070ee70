import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { isLoopback } from '../access/address-limiter.js';
import type { SuspicionKind, SuspicionLog } from '../access/suspicion-log.js';
import type { FlowControl } from './connection-flow-control.js';

/**
 * Bytes that a WebSocket may send before its handshake is done: a token, and the packets around it. Less than the 256 KiB
 * of later messages, and enough to respond to a handshake over 16 KiB.
 */
const BYTES_MAX = 64 * 1024;
/** Chunks that they may arrive in. Each is an object, and `ws` keeps all chunks of an incomplete message. */
const CHUNKS_MAX = 64;
/** Bytes of all such WebSockets together. Beyond it, those of the address that has sent most are terminated. */
const BYTES_MAX_OF_ALL = 32 * 2 ** 20;

interface Watched {
  readonly webSocket: WebSocket;
  bytes: number;
  chunks: number;
  /** Stops watching. */
  end: () => void;
}

/** Bounds the bytes of WebSockets before their handshake is done, for each and for all together. */
export class HandshakeBytes {
  readonly #watched = new WeakMap<FlowControl, Set<Watched>>();
  readonly #byAddress = new Map<string, Set<Watched>>();
  #all = 0;

  constructor(
    private readonly suspicions: SuspicionLog,
    private readonly bytesMaxOfAll = BYTES_MAX_OF_ALL,
  ) {}

  watch(flowControl: FlowControl, webSocket: WebSocket, tcp: Duplex): void {
    const { address } = flowControl;
    const watchedHere = this.#watched.get(flowControl) ?? new Set();
    this.#watched.set(flowControl, watchedHere);
    const ofAddress = this.#byAddress.get(address) ?? new Set();
    this.#byAddress.set(address, ofAddress);
    const count = (chunk: Buffer): void => {
      watched.bytes += chunk.length;
      watched.chunks += 1;
      this.#all += chunk.length;
      if (watched.bytes > BYTES_MAX || watched.chunks > CHUNKS_MAX) this.#terminate('fragments', address, [watched]);
      else if (this.#all > this.bytesMaxOfAll) this.#freeBytes(address, watched);
    };
    const watched: Watched = {
      webSocket,
      bytes: 0,
      chunks: 0,
      end: () => {
        if (!watchedHere.delete(watched)) return;
        ofAddress.delete(watched);
        if (ofAddress.size === 0 && this.#byAddress.get(address) === ofAddress) this.#byAddress.delete(address);
        this.#all -= watched.bytes;
        tcp.off('data', count);
        webSocket.off('close', watched.end);
      },
    };
    watchedHere.add(watched);
    ofAddress.add(watched);
    tcp.on('data', count);
    webSocket.on('close', watched.end);
  }

  /** The connection's handshake is done. */
  end(flowControl: FlowControl): void {
    for (const { end } of this.#watched.get(flowControl) ?? []) end();
    this.#watched.delete(flowControl);
  }

  /** If loopback, which has no limit, holds most, only the WebSocket that has just sent something is terminated. */
  #freeBytes(sender: string, sent: Watched): void {
    let largest = sender;
    let bytes = 0;
    let ofLoopback = 0;
    for (const [address, ofAddress] of this.#byAddress) {
      let sum = 0;
      for (const watched of ofAddress) sum += watched.bytes;
      if (isLoopback(address)) ofLoopback += sum;
      else if (sum > bytes) {
        largest = address;
        bytes = sum;
      }
    }
    if (bytes > ofLoopback) this.#terminate('handshakes', largest, [...this.#byAddress.get(largest)!]);
    else this.#terminate('handshakes', sender, [sent]);
  }

  #terminate(kind: SuspicionKind, address: string, all: readonly Watched[]): void {
    this.suspicions.add(kind, address);
    for (const { webSocket, end } of all) {
      end();
      webSocket.terminate();
    }
  }
}
