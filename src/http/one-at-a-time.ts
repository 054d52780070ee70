import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Requests of a connection that wait for their turn, some 5 KB each. A client that sends more before it has answers is ended. */
const WAITING_MAX = 256;

const waitingOf = new WeakMap<Socket, number>();

/**
 * Begins a request when the answers before it, on the same connection, are written (HTTP pipelining). Node would begin all
 * at once and tell those that wait nothing of the end of their connection, so that files they have opened would stay open.
 * To be used before everything else.
 */
export function serializeRequests({ socket }: IncomingMessage, response: ServerResponse, next: () => void): void {
  if (response.socket !== null) {
    next();
    return;
  }
  const waiting = waitingOf.get(socket) ?? 0;
  if (waiting >= WAITING_MAX) {
    socket.destroy();
    return;
  }
  waitingOf.set(socket, waiting + 1);
  // Node tells so when it is the response's turn.
  response.once('socket', () => {
    waitingOf.set(socket, waitingOf.get(socket)! - 1);
    next();
  });
}
