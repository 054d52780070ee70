import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import { ProtocolError } from '../protocol/errors.js';
import type { Replication } from '../replication/regions.js';
import type { Settings } from '../config/settings.js';
import { REPLICATION, SETTINGS } from '../config/injection-tokens.js';

/** Lets other regions through to what is meant for them alone, before anything of their bodies is read. */
@Injectable()
export class PeerAuthentication {
  readonly #callers = new WeakMap<IncomingMessage, string>();
  readonly #token: Buffer;

  constructor(
    @Inject(SETTINGS) { peerToken }: Settings,
    @Inject(REPLICATION) private readonly regions: Replication | null,
  ) {
    this.#token = sha256(peerToken);
  }

  /** @throws ProtocolError */
  authenticate(request: IncomingMessage): void {
    if (this.regions === null) throw new ProtocolError('FORBIDDEN', 'this gateway has no PEERS');
    const token = /^Bearer +(.*)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    // Digests have the same length, and are compared in the same time, whatever was sent.
    if (!timingSafeEqual(sha256(token), this.#token)) {
      throw new ProtocolError('UNAUTHORIZED', 'PEER_TOKEN must be the same in all regions');
    }
    const region = request.headers['tallycast-region'];
    const peer = this.regions.peers.find((one) => one.region === region);
    if (peer === undefined) throw new ProtocolError('FORBIDDEN', 'PEERS does not name this region here');
    this.#callers.set(request, peer.region);
  }

  /** The region that calls; `undefined` if it was not admitted. */
  authenticatedRegion(request: IncomingMessage): string | undefined {
    return this.#callers.get(request);
  }
}

function sha256(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
