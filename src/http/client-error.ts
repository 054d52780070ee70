import { maxHeaderSize, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorBody } from '../protocol/errors.js';
import { endWithError } from '../protocol/raw-response.js';

/**
 * Answers what never becomes a request, since it is not HTTP or its head is too long, with the protocol's error object.
 * For the `clientError` event of the HTTP server; the connection ends with it.
 */
export function respondToClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, body] = answerTo(error.code);
  endWithError(socket, status, body);
}

/**
 * Has a request with an unknown `Expect` handled like any other, as RFC 9110 allows in section 10.1.1. Node would answer it
 * itself with 417, past the limits on requests.
 */
export function acceptAnyExpectation(server: Server): void {
  server.on('checkExpectation', (request, response) => void server.emit('request', request, response));
}

function answerTo(code: string | undefined) {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [
        '413 Payload Too Large',
        errorBody(
          'PAYLOAD_TOO_LARGE',
          `the address and the headers have at most ${maxHeaderSize} bytes; name fewer posts`,
        ),
      ] as const;
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['408 Request Timeout', errorBody('BAD_REQUEST', 'the request did not come in time')] as const;
    default:
      return ['400 Bad Request', errorBody('BAD_REQUEST', 'this is not a request of HTTP/1.1')] as const;
  }
}
