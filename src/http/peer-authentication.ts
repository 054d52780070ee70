import type { IncomingMessage } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import { ProtocolError } from '../protocol/errors.js';
import type { Replication } from '../replication/start-replication.js';
import type { Settings } from '../config/settings.js';
import { REPLICATION, SETTINGS } from '../config/injection-tokens.js';
import { BearerSecret } from './bearer-secret.js';

/** Authenticates other regions before any of their bodies is read. */
@Injectable()
export class PeerAuthentication {
  readonly #regions = new WeakMap<IncomingMessage, string>();
  readonly #secret: BearerSecret;

  constructor(
    @Inject(SETTINGS) { peerToken }: Settings,
    @Inject(REPLICATION) private readonly replication: Replication,
  ) {
    this.#secret = new BearerSecret(peerToken);
  }

  /** @throws ProtocolError */
  authenticate(request: IncomingMessage): void {
    const { peers } = this.replication;
    if (peers.length === 0) throw new ProtocolError('FORBIDDEN', 'this gateway has no PEERS');
    if (!this.#secret.isIn(request)) {
      throw new ProtocolError('UNAUTHORIZED', 'PEER_TOKEN must be the same in all regions');
    }
    const region = request.headers['tallycast-region'];
    const peer = peers.find((one) => one.region === region);
    if (peer === undefined) throw new ProtocolError('FORBIDDEN', 'your region is not listed in PEERS of this gateway');
    this.#regions.set(request, peer.region);
  }

  /** @returns the region that sent the request; `undefined` if it is not authenticated */
  authenticatedRegion(request: IncomingMessage): string | undefined {
    return this.#regions.get(request);
  }
}
