import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressLimiter } from '../access/address-limiter.js';
import type { SuspicionLog } from '../access/suspicions.js';
import type { Clock } from '../common/clock.js';
import { errorBody } from '../protocol/errors.js';
import { pathPattern } from './openapi/paths.js';

/** Units of a request beside what it costs otherwise (src/access/message-budget.ts): 1,000 requests a second of an address. */
const REQUEST_UNITS = 10;

/** Probes of balancers and supervisors: they may share an address with much traffic, and would take the gateway for dead. */
const NEVER_REJECTED = pathPattern('both');

/**
 * Charges each request to its address, whatever it asks for: also one that is answered with 404 takes 0.1 ms. An address
 * without units is answered before anything else is done, and its connection ends. To be used before the routes.
 * @param isFromPeer whether another region has sent the request, whose calls have limits of their own
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
      // Any page may read why it was refused.
      'Access-Control-Allow-Origin': '*',
      Connection: 'close',
    });
    response.end(JSON.stringify(error));
  };
}
