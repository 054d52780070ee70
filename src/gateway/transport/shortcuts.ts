import { LibuvWriteShortcut } from './libuv-writer.js';
import { Shortcut } from './shortcut.js';

/** All shortcuts of a gateway. Each is explained where it is used. */
export class Shortcuts {
  /** Writes to libuv's handle of a TCP socket: libuv-writer.ts. */
  readonly libuvWrite: LibuvWriteShortcut;
  /** Writes frames to the TCP socket under `ws`: direct-socket.ts. */
  readonly directWrite: Shortcut;
  /** Reads the list of packets that Engine.IO keeps for a client that does not read: direct-socket.ts. */
  readonly unsentPackets: Shortcut;
  /** Stops reading from a connection at once: direct-socket.ts. */
  readonly readPause: Shortcut;
  /** Reads frames instead of `ws`: ws-frame-reader.ts. */
  readonly directRead: Shortcut;
  /** Receives events from the connection's decoder: receive-events.ts. */
  readonly packetDecoder: Shortcut;
  /** Releases memory that only a handshake needs: handshake-memory.ts. */
  readonly handshakeMemory: Shortcut;

  /** @param warn is called once for each shortcut that is disabled */
  constructor(warn: (message: string) => void) {
    this.libuvWrite = new LibuvWriteShortcut('libuv-write', warn);
    this.directWrite = new Shortcut('direct-write', warn);
    this.unsentPackets = new Shortcut('unsent-packets', warn);
    this.readPause = new Shortcut('read-pause', warn);
    this.directRead = new Shortcut('direct-read', warn);
    this.packetDecoder = new Shortcut('packet-decoder', warn);
    this.handshakeMemory = new Shortcut('handshake-memory', warn);
  }

  get all(): readonly Shortcut[] {
    const { libuvWrite, directWrite, unsentPackets, readPause, directRead, packetDecoder, handshakeMemory } = this;
    return [libuvWrite, directWrite, unsentPackets, readPause, directRead, packetDecoder, handshakeMemory];
  }
}
