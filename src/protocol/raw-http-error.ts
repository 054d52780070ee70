import type { Duplex } from 'node:stream';
import type { ErrorBody } from './errors.js';

/** Ends a connection that has no response object with an error over HTTP/1.1. */
export function endWithError(socket: Duplex, status: string, body: ErrorBody): void {
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
    ...(body.retryAfterMs === undefined ? [] : [`Retry-After: ${Math.ceil(body.retryAfterMs / 1_000)}`]),
  ];
  // No other listener may be left.
  socket.on('error', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`, () => socket.destroy());
}
