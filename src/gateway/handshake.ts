import { Inject, Injectable } from '@nestjs/common';
import { Addresses } from '../access/addresses.js';
import { Identities } from '../access/identity.js';
import { toSessionKey } from '../access/keys.js';
import { Origins } from '../access/origins.js';
import { type ErrorBody, errorBody, ProtocolError } from '../protocol/errors.js';
import { invalid } from '../protocol/invalid.js';
import { MESSAGE_TOO_LARGE, TOO_LARGE_AUTH } from './bounded-parser.js';
import { Connecting } from './connecting.js';
import type { CountsSocket } from './connection.js';
import { HANDSHAKE } from './schemas.js';

/** What a socket runs on: Engine.IO's side of the connection. */
type Transported = CountsSocket['conn'];

/** Decides who may connect, and as whom. A refusal is a `connect_error` whose `data` is the protocol's error object. */
@Injectable()
export class Handshake {
  /** Set when the gateway drains: nobody comes in any more. */
  draining = false;
  readonly connecting: Connecting;
  /** Those that have their socket or are about to: one each, or a client could multiply itself. */
  readonly #taken = new WeakSet<Transported>();
  /** Those that count for their address. */
  readonly #counted = new WeakSet<Transported>();

  constructor(
    @Inject(Origins) private readonly origins: Origins,
    @Inject(Addresses) private readonly addresses: Addresses,
    @Inject(Identities) private readonly identities: Identities,
  ) {
    this.connecting = new Connecting(addresses);
  }

  /** @throws an error as socket.io's middleware takes it. */
  async check(socket: CountsSocket): Promise<void> {
    const { conn } = socket;
    if (this.#taken.has(conn)) throw refusal(errorBody('BAD_REQUEST', 'a connection connects only once'));
    this.#taken.add(conn);
    try {
      await this.#check(socket);
      this.connecting.end(conn);
    } catch (error) {
      this.#taken.delete(conn);
      if (error instanceof ProtocolError) throw refusal(error.body);
      throw error;
    }
  }

  async #check(socket: CountsSocket): Promise<void> {
    const { conn, request, handshake } = socket;
    if (this.draining) {
      // So that nothing is answered: a stock client comes back after a lost connection, and not after a refusal.
      conn.close();
      throw new ProtocolError('OVERLOADED', 'the gateway is closing; reconnect', 1_000);
    }
    const refused = this.origins.refusalOf(request);
    if (refused !== null) throw new ProtocolError('FORBIDDEN', refused);
    if (handshake.auth === TOO_LARGE_AUTH) throw new ProtocolError('PAYLOAD_TOO_LARGE', MESSAGE_TOO_LARGE);
    const parsed = HANDSHAKE.safeParse({ ...handshake.auth });
    if (!parsed.success) throw refusal(invalid(parsed.error, Object.keys(HANDSHAKE.shape)));
    const address = this.addresses.of(request);
    this.#count(conn, address);
    const { token, actor, session } = parsed.data;
    socket.data.address = address;
    const identity = await this.identities.identify({ token, actor, actorField: 'actor' });
    socket.data.identity = identity;
    socket.data.session = session === undefined ? null : toSessionKey(identity.actor, session);
  }

  /** From here on, also while its token is verified, until the connection ends; a second attempt on it adds nothing. */
  #count(conn: Transported, address: string): void {
    if (this.#counted.has(conn) || conn.readyState === 'closed') return;
    this.addresses.connect(address, conn);
    this.#counted.add(conn);
  }
}

function refusal(body: ErrorBody): Error {
  return Object.assign(new Error(body.message), { data: body });
}
