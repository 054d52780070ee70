import type { Shortcut } from '../transport/shortcut.js';
import type { Shortcuts } from '../transport/shortcuts.js';
import { proveHandshakeMemory } from './prove-handshake-memory.js';
import { proveDirectRead, provePacketDecoder, proveReadPause } from './prove-reading.js';
import { proveDirectWrite, proveLibuvWrite, proveUnsentPackets } from './prove-writing.js';
import { PROOFS_LIMIT_MS, TOO_LONG } from './proof-steps.js';
import { ProofServer } from './proof-server.js';

type Proof = () => Promise<void>;

/**
 * Enables each shortcut that works on connections of this process to itself, and disables the others. To be called before
 * the first client connects. Never throws.
 */
export async function proveShortcuts(shortcuts: Shortcuts): Promise<void> {
  const { libuvWrite, directWrite, unsentPackets, readPause, directRead, packetDecoder, handshakeMemory } = shortcuts;
  let server: ProofServer;
  try {
    server = await ProofServer.listen();
  } catch (error) {
    for (const shortcut of shortcuts.all) shortcut.disable(error);
    return;
  }
  const limit = new TimeLimit(PROOFS_LIMIT_MS);
  await prove(libuvWrite, limit, () => proveLibuvWrite(libuvWrite));
  await prove(packetDecoder, limit, () => provePacketDecoder(server, packetDecoder));
  await prove(directRead, limit, () => proveDirectRead(server, shortcuts));
  await prove(directWrite, limit, () => proveDirectWrite(server, shortcuts));
  await prove(unsentPackets, limit, () => proveUnsentPackets(server, unsentPackets));
  await prove(readPause, limit, () => proveReadPause(server, shortcuts));
  await prove(handshakeMemory, limit, () => proveHandshakeMemory(server, shortcuts));
  limit.cancel();
  server.close();
}

async function prove(shortcut: Shortcut, limit: TimeLimit, proof: Proof): Promise<void> {
  shortcut.enable();
  try {
    await Promise.race([proof(), limit.reached]);
  } catch (error) {
    shortcut.disable(error);
  }
}

class TimeLimit {
  /** Rejects when the time is over. */
  readonly reached: Promise<never>;
  #timer!: NodeJS.Timeout;

  constructor(ms: number) {
    this.reached = new Promise<never>((_, reject) => {
      this.#timer = setTimeout(() => reject(new Error(TOO_LONG)), ms);
    });
    this.reached.catch(() => undefined);
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}
