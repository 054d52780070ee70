import { maxHeaderSize, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorBody } from '../protocol/errors.js';
import { endWithError } from '../protocol/raw-http-error.js';

/**
 * Responds with the protocol's error object to bytes that never become a request: not HTTP, or a head that is too long.
 * For the `clientError` event of the HTTP server; closes the connection.
 */
export function respondToClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, body] = toResponse(error.code);
  endWithError(socket, status, body);
}

/**
 * Handles a request with an unknown `Expect` like any other, as RFC 9110 allows in section 10.1.1. Otherwise Node responds
 * with 417 itself, past the limits on requests.
 */
export function acceptAnyExpectation(server: Server): void {
  server.on('checkExpectation', (request, response) => void server.emit('request', request, response));
}

function toResponse(code: string | undefined) {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [
        '413 Payload Too Large',
        errorBody(
          'PAYLOAD_TOO_LARGE',
          `the URL and the headers must have at most ${maxHeaderSize} bytes; name fewer posts`,
        ),
      ] as const;
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['408 Request Timeout', errorBody('BAD_REQUEST', 'the request took too long; send it at once')] as const;
    default:
      return ['400 Bad Request', errorBody('BAD_REQUEST', 'expected a request of HTTP/1.1')] as const;
  }
}
