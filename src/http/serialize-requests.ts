import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Requests of a connection that wait, about 5 KB each. The gateway closes the connection of a client that pipelines more. */
const WAITING_MAX = 256;

const waitingBySocket = new WeakMap<Socket, number>();

/**
 * Starts a pipelined request when the earlier responses of its connection are written. Node would start all at once, and
 * would not report the end of the connection to waiting responses, so their files would stay open. Use it before every other
 * middleware.
 */
export function serializeRequests({ socket }: IncomingMessage, response: ServerResponse, next: () => void): void {
  if (response.socket !== null) {
    next();
    return;
  }
  const waiting = waitingBySocket.get(socket) ?? 0;
  if (waiting >= WAITING_MAX) {
    socket.destroy();
    return;
  }
  waitingBySocket.set(socket, waiting + 1);
  // Node emits this when the earlier responses are written.
  response.once('socket', () => {
    waitingBySocket.set(socket, waitingBySocket.get(socket)! - 1);
    next();
  });
}
