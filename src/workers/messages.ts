import type { Socket } from 'node:net';
import { join } from 'node:path';

/** The environment variable that holds the folder of the workers' sockets. The primary sets it. */
export const SOCKETS_VARIABLE = 'TALLYCAST_WORKER_SOCKETS';

/** The path of the socket on which a worker serves requests of other workers. */
export function socketPath(folder: string, worker: number): string {
  return join(folder, String(worker));
}

/** From a worker to the primary: the worker listens next. */
export interface AboutToListenMessage {
  readonly kind: 'about to listen';
}

/** From a worker to the primary: the worker accepts connections at `url`. */
export interface ListeningMessage {
  readonly kind: 'listening';
  readonly url: string;
  /** The URL of OPS_PORT, if that is set. */
  readonly opsUrl?: string;
}

/** Carries a connection from a worker through the primary to the worker `to`. */
export interface HandOverMessage {
  readonly kind: 'hand over';
  readonly to: number;
  /** The bytes that the sender has read from the connection, as Latin-1 text. */
  readonly read: string;
}

/** From a worker to the primary: the worker's drain is done. */
export interface DrainedMessage {
  readonly kind: 'drained';
}

/** The primary's response to DrainedMessage, when no other worker needs this one any more. */
export interface CloseMessage {
  readonly kind: 'close';
}

export type WorkerMessage = AboutToListenMessage | ListeningMessage | HandOverMessage | DrainedMessage | CloseMessage;

/**
 * To be called before a connection is sent to another process. Otherwise Node reads it until the other process has it, and loses
 * these bytes. Node has no public way to stop at once: a paused stream reads up to 64 KiB more. That fallback loses nothing as
 * long as the client waits for a response.
 */
export function stopReading(connection: Socket): void {
  const { _handle: handle } = connection as unknown as { readonly _handle?: { readStop?: () => unknown } | null };
  if (typeof handle?.readStop === 'function') handle.readStop();
  else connection.pause();
}
