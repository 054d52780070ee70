import { Inject, Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { AddressLimiter } from '../access/address-limiter.js';
import type { Clock } from '../common/clock.js';
import { ProtocolError } from '../protocol/errors.js';
import { CLOCK } from '../config/injection-tokens.js';
import type { Consistency } from '../protocol/http-request-schemas.js';

/** Tokens of a request beside one for each post that it names: taking and answering it costs about as much as ten posts do. */
const REQUEST_COST = 10;
/** How much more it costs to ask every region, which asks each peer, merges what they answer, and has others wait. */
const EVERYWHERE_FACTOR = 10;

/** Charges an address for its reads. Loopback is spared, as by all limits by address. */
@Injectable()
export class ReadLimiter {
  constructor(
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * @param posts how many are named
   * @returns who asks; `null` where limits by address do not apply
   * @throws ProtocolError RATE_LIMITED when the address has read too much
   */
  admit(request: IncomingMessage, posts: number, consistency: Consistency = 'local'): string | null {
    const address = this.addresses.addressOf(request);
    const bucket = this.addresses.readTokenBucket(address);
    if (bucket === null) return null;
    const cost = (REQUEST_COST + posts) * (consistency === 'all' ? EVERYWHERE_FACTOR : 1);
    // A read that costs more than an address has at once takes all of it.
    const waitMs = bucket.take(this.clock.nowMs(), Math.min(cost, bucket.burst));
    if (waitMs > 0) throw new ProtocolError('RATE_LIMITED', 'too much is read from your address; slow down', waitMs);
    return address;
  }
}
