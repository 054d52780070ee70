import { Inject, Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { AddressLimiter } from '../access/address-limiter.js';
import type { Clock } from '../common/clock.js';
import { ProtocolError } from '../protocol/errors.js';
import { CLOCK } from '../config/injection-tokens.js';
import type { Consistency } from '../protocol/http-request-schemas.js';

/** Tokens of a request, besides one for each named post: handling it costs about as much as ten posts. */
const REQUEST_COST = 10;
/** Factor for a read of every region: it calls each peer, merges the responses and delays other reads. */
const GLOBAL_READ_FACTOR = 10;

/** Charges an address for its reads. Limits by address exempt loopback. */
@Injectable()
export class ReadLimiter {
  constructor(
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * @param posts the number of named posts
   * @returns the client's address; `null` where limits by address do not apply
   * @throws ProtocolError RATE_LIMITED when the address has read too much
   */
  admit(request: IncomingMessage, posts: number, consistency: Consistency = 'local'): string | null {
    const address = this.addresses.addressOf(request);
    const bucket = this.addresses.readTokenBucket(address);
    if (bucket === null) return null;
    const cost = (REQUEST_COST + posts) * (consistency === 'all' ? GLOBAL_READ_FACTOR : 1);
    // A read that costs more than the burst takes the whole burst.
    const waitMs = bucket.take(this.clock.nowMs(), Math.min(cost, bucket.burst));
    if (waitMs > 0) throw new ProtocolError('RATE_LIMITED', 'too many reads from your address; slow down', waitMs);
    return address;
  }
}
