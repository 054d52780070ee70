import type { Socket } from 'node:net';
import { join } from 'node:path';

/** The environment variable by which the primary tells its workers the folder of their sockets. */
export const SOCKETS_VARIABLE = 'TALLYCAST_WORKER_SOCKETS';

/** Where a worker takes requests from its siblings. */
export function socketPath(folder: string, worker: number): string {
  return join(folder, String(worker));
}

/** From a worker to the primary: it takes connections at `url`. */
export interface ListeningMessage {
  readonly kind: 'listening';
  readonly url: string;
  /** Where operators are served, if that is elsewhere. */
  readonly opsUrl?: string;
}

/** Comes with a connection, from a worker by way of the primary to the worker `to`. */
export interface HandOverMessage {
  readonly kind: 'hand over';
  readonly to: number;
  /** The bytes that were read from the connection: Latin-1, as HTTP has it. */
  readonly read: string;
}

/** From a worker to the primary: its sessions have ended, or had the time to. */
export interface DrainedMessage {
  readonly kind: 'drained';
}

/** The primary's answer: nobody needs the worker any more. */
export interface CloseMessage {
  readonly kind: 'close';
}

export type WorkerMessage = ListeningMessage | HandOverMessage | DrainedMessage | CloseMessage;

/**
 * To be called before a connection is sent to another process. Node goes on reading it until that process has it, and
 * would lose what comes in between. It has no public way to stop that at once: a paused stream reads up to 64 KiB more,
 * which a client that waits for an answer does not send.
 */
export function stopReading(connection: Socket): void {
  const { _handle: handle } = connection as unknown as { readonly _handle?: { readStop?: () => unknown } | null };
  if (typeof handle?.readStop === 'function') handle.readStop();
  else connection.pause();
}
