import { type CanActivate, type ExecutionContext, Inject, Injectable, Logger } from '@nestjs/common';
import type { Request } from 'express';
import { AddressLimiter } from '../access/address-limiter.js';
import { SETTINGS } from '../config/injection-tokens.js';
import type { Settings } from '../config/settings.js';
import { ProtocolError } from '../protocol/errors.js';
import { BearerSecret } from './bearer-secret.js';

/** Lets operators through that know ADMIN_TOKEN, and logs their requests. */
@Injectable()
export class AdminAuthentication implements CanActivate {
  readonly #logger = new Logger('admin');
  readonly #secret: BearerSecret | null;

  constructor(
    @Inject(SETTINGS) { adminToken }: Settings,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
  ) {
    this.#secret = adminToken === null ? null : new BearerSecret(adminToken);
  }

  /** @throws ProtocolError */
  canActivate(context: ExecutionContext): true {
    const request = context.switchToHttp().getRequest<Request>();
    if (this.#secret === null) {
      throw new ProtocolError(
        'FORBIDDEN',
        'this gateway has no ADMIN_TOKEN: set it to 16 to 256 visible ASCII characters',
      );
    }
    if (!this.#secret.isIn(request)) {
      throw new ProtocolError('UNAUTHORIZED', 'send the ADMIN_TOKEN of this gateway as Authorization: Bearer');
    }
    this.#logger.log(`${request.method} ${request.originalUrl} from ${this.addresses.addressOf(request)}`);
    return true;
  }
}
