import { Inject, Injectable } from '@nestjs/common';
import { Addresses } from '../access/addresses.js';
import { Identities } from '../access/identity.js';
import { key64Of } from '../access/keys.js';
import { ORIGIN_REFUSED, Origins } from '../access/origins.js';
import { type ErrorBody, ProtocolError } from '../protocol/errors.js';
import { invalid } from '../protocol/invalid.js';
import type { CountsSocket } from './connection.js';
import { HANDSHAKE } from './schemas.js';

const TOO_MANY_CONNECTIONS_RETRY_MS = 10_000;

/** Decides who may connect, and as whom. A refusal is a `connect_error` whose `data` is the protocol's error object. */
@Injectable()
export class Handshake {
  /** Set when the gateway drains: nobody comes in any more. */
  draining = false;

  constructor(
    @Inject(Origins) private readonly origins: Origins,
    @Inject(Addresses) private readonly addresses: Addresses,
    @Inject(Identities) private readonly identities: Identities,
  ) {}

  /** @throws an error as socket.io's middleware takes it. */
  async check(socket: CountsSocket): Promise<void> {
    try {
      await this.#check(socket);
    } catch (error) {
      if (error instanceof ProtocolError) throw refusal(error.body);
      throw error;
    }
  }

  async #check(socket: CountsSocket): Promise<void> {
    const { request, handshake } = socket;
    if (this.draining) throw new ProtocolError('OVERLOADED', 'the gateway is closing; reconnect', 1_000);
    if (!this.origins.allows(request)) throw new ProtocolError('FORBIDDEN', ORIGIN_REFUSED);
    const parsed = HANDSHAKE.safeParse({ ...handshake.auth });
    if (!parsed.success) throw refusal(invalid(parsed.error, Object.keys(HANDSHAKE.shape)));
    const address = this.addresses.of(request);
    if (!this.addresses.mayConnect(address)) {
      throw new ProtocolError('RATE_LIMITED', 'too many connections from your address', TOO_MANY_CONNECTIONS_RETRY_MS);
    }
    const { token, actor, session } = parsed.data;
    socket.data.address = address;
    socket.data.session = session === undefined ? null : key64Of(session);
    socket.data.identity = await this.identities.identify({ token, actor });
  }
}

function refusal(body: ErrorBody): Error {
  return Object.assign(new Error(body.message), { data: body });
}
