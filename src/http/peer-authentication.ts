import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import { ProtocolError } from '../protocol/errors.js';
import type { Replication } from '../replication/start-replication.js';
import type { Settings } from '../config/settings.js';
import { REPLICATION, SETTINGS } from '../config/injection-tokens.js';

/** Authenticates other regions before any of their bodies is read. */
@Injectable()
export class PeerAuthentication {
  readonly #regions = new WeakMap<IncomingMessage, string>();
  readonly #token: Buffer;

  constructor(
    @Inject(SETTINGS) { peerToken }: Settings,
    @Inject(REPLICATION) private readonly replication: Replication,
  ) {
    this.#token = sha256(peerToken);
  }

  /** @throws ProtocolError */
  authenticate(request: IncomingMessage): void {
    const { peers } = this.replication;
    if (peers.length === 0) throw new ProtocolError('FORBIDDEN', 'this gateway has no PEERS');
    const token = /^Bearer +(.*)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    // Digests have equal lengths, and their comparison takes the same time for every token.
    if (!timingSafeEqual(sha256(token), this.#token)) {
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

function sha256(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
