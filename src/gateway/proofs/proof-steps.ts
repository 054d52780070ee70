import { setImmediate, setTimeout as setTimeoutPromise } from 'node:timers/promises';
import { receiveEvents } from '../transport/receive-events.js';
import type { Shortcuts } from '../transport/shortcuts.js';
import type { ProofConnection, ProofServer } from './proof-server.js';

/** All proofs together take some 50 ms of CPU. If one hangs, the boot is delayed by this time, and those after it fail, too. */
export const PROOFS_LIMIT_MS = 10_000;
export const TOO_LONG = `its proof, or one before it, took over ${PROOFS_LIMIT_MS} ms`;
/** Bytes on loopback arrive within this many turns of the event loop. */
export const TURNS = 5;
/** Turns of a wait before it checks only once a millisecond, so that a proof that hangs does not keep a core busy. */
const TURNS_AT_ONCE = 1_000;

/** Closes the connection. The server must report its end, once. */
export async function proveEnd(server: ProofServer, { socket, client }: ProofConnection): Promise<void> {
  const others = server.size - 1;
  let ends = 0;
  socket.on('disconnect', () => (ends += 1));
  client.close();
  await until(() => server.size === others && ends > 0 && socket.conn.readyState === 'closed');
  await waitTurns(TURNS);
  check(ends === 1, `the end of a connection was reported ${ends} times`);
}

/** @returns the numbers of the received events, to which later events are added */
export function collectNumbers({ socket }: ProofConnection, { packetDecoder }: Shortcuts): number[] {
  const numbers: number[] = [];
  const receiver = {
    act: () => undefined,
    event: (_: string, [number]: readonly unknown[]) => numbers.push(Number(number)),
    otherPacket: () => undefined,
  };
  receiveEvents(socket, receiver, packetDecoder);
  return numbers;
}

/** An event with a number, as a client sends it. */
export function encodeEvent(number: number): string {
  return `42["proof",${number}]`;
}

/** Checks once a turn of the event loop. */
export async function until(isReached: () => boolean): Promise<void> {
  const endMs = performance.now() + PROOFS_LIMIT_MS;
  for (let turn = 0; !isReached(); turn++) {
    if (performance.now() > endMs) throw new Error(TOO_LONG);
    if (turn < TURNS_AT_ONCE) await setImmediate();
    else await setTimeoutPromise(1);
  }
}

export async function waitTurns(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await setImmediate();
}

export function check(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}
