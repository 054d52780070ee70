import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressLimiter } from '../access/address-limiter.js';
import type { SuspicionLog } from '../access/suspicion-log.js';
import type { Clock } from '../common/clock.js';
import { errorBody } from '../protocol/errors.js';
import { pathPattern } from './openapi/routes.js';

/** Units of a request (src/access/message-budget.ts), besides its other costs: 1,000 requests a second of an address. */
const REQUEST_UNITS = 10;

/** Probes of balancers and supervisors: they may share an address with much traffic, and a 429 would look like a dead gateway. */
const NEVER_REJECTED = pathPattern('both');

/**
 * Charges every request to its address, because even a 404 takes 0.1 ms. An address without units gets 429 before the request
 * has any effect, and its connection is closed. Use it before the routes.
 * @param isFromPeer whether another region sent the request; the calls of regions have other limits
 */
export function chargeRequests(
  addresses: AddressLimiter,
  suspicions: SuspicionLog,
  clock: Clock,
  isFromPeer: (request: IncomingMessage) => boolean,
) {
  return (request: IncomingMessage, response: ServerResponse, next: () => void): void => {
    const { url = '' } = request;
    if (url.startsWith('/v1/replication/') && isFromPeer(request)) {
      next();
      return;
    }
    const address = addresses.addressOf(request);
    const waitMs = addresses.messageTokenBucket(address)?.take(clock.nowMs(), REQUEST_UNITS) ?? 0;
    if (waitMs === 0 || NEVER_REJECTED.test(url.split('?', 1)[0]!)) {
      next();
      return;
    }
    suspicions.add('requests', address);
    const error = errorBody('RATE_LIMITED', 'too many requests from your address; slow down', waitMs);
    response.writeHead(429, {
      'Content-Type': 'application/json; charset=utf-8',
      'Retry-After': String(Math.ceil(waitMs / 1_000)),
      // Every page may read the error.
      'Access-Control-Allow-Origin': '*',
      Connection: 'close',
    });
    response.end(JSON.stringify(error));
  };
}
