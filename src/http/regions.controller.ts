import { Controller, Get, Inject, Post, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { Authenticator } from '../access/authenticator.js';
import { ProtocolError } from '../protocol/errors.js';
import type { LinkStatus, PeerService } from '../replication/transport/peer.js';
import type { Replication } from '../replication/regions.js';
import { POSTS_PER_READ_MAX } from '../replication/transport/request-splitter.js';
import { DeltaValidation } from '../replication/transport/delta-validation.js';
import { WireError } from '../replication/transport/wire-format.js';
import { decodeDigests, decodePosts, encodeDifferences, encodeAcks } from '../replication/transport/message-codec.js';
import { decodeDeltas, encodeDeltas } from '../replication/transport/delta-codec.js';
import type { Settings } from '../config/settings.js';
import { REPLICATION, SETTINGS } from '../config/injection-tokens.js';
import { parseTokenOnly } from './parameters.js';
import { PeerAuthentication } from './peer-authentication.js';
import { ReadLimiter } from './reads.js';

/** How the link to another region is doing: LinkStatus, with a time that people can read. */
export type PeerStatusResponse = Omit<LinkStatus, 'sinceMs'> & { readonly since: string | null };

/**
 * Serves other regions, in the bytes of src/replication/transport/delta-codec.ts, and tells the state of the links to
 * everybody who may read.
 * PeerAuthentication has let the caller through before its body was read.
 */
@Controller('v1/regions')
export class RegionsController {
  readonly #rules: DeltaValidation;

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(REPLICATION) private readonly regions: Replication | null,
    @Inject(PeerAuthentication) private readonly peerAuthentication: PeerAuthentication,
    @Inject(Authenticator) private readonly authenticator: Authenticator,
    @Inject(ReadLimiter) private readonly reads: ReadLimiter,
  ) {
    this.#rules = new DeltaValidation(settings.buckets, settings.actorKeys, settings.metrics);
  }

  @Get()
  async status(@Req() request: Request): Promise<{ region: string; peers: PeerStatusResponse[] }> {
    this.reads.admit(request, 0);
    await this.authenticator.identify(parseTokenOnly(request.headers));
    const peers = this.regions?.linkStatuses() ?? [];
    return { region: this.settings.region, peers: peers.map(toPeerStatus) };
  }

  @Post('ship')
  async ship(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#respond(request, response, (body, from) => {
      const shipments = decodeDeltas(body);
      this.#rules.check(from, shipments);
      return async (service) => encodeAcks(await service.mergeFrom(from, shipments));
    });
  }

  @Post('compare')
  async compare(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#respond(request, response, (body, from) => {
      const digests = decodeDigests(body);
      for (const { bucket } of digests) this.#rules.checkBucket(bucket);
      return async (service) => encodeDifferences(await service.compareDigests(from, digests));
    });
  }

  @Post('show')
  async show(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#respond(request, response, (body) => {
      const posts = decodePosts(body);
      if (posts.length > POSTS_PER_READ_MAX) throw new WireError(`posts must be at most ${POSTS_PER_READ_MAX}`);
      return async (service) => encodeDeltas(await service.readPosts(posts));
    });
  }

  /** @param read checks the body, and says what to answer; it throws WireErrors */
  async #respond(
    request: Request,
    response: Response,
    read: (body: Buffer, from: string) => (service: PeerService) => Promise<Buffer>,
  ): Promise<void> {
    const from = this.peerAuthentication.authenticatedRegion(request);
    if (this.regions === null || from === undefined) throw new ProtocolError('FORBIDDEN', 'this is for other regions');
    this.#requireSameSchema(request);
    const answer = readBy(read, request.body, from);
    const bytes = await answer(this.regions.peerService).catch(() => {
      throw new ProtocolError('UNAVAILABLE', 'the store did not answer in time; ask again');
    });
    response.status(200).type('application/octet-stream').send(bytes);
  }

  #requireSameSchema(request: Request): void {
    const theirs = request.headers['tallycast-counts'];
    if (typeof theirs === 'string' && this.#rules.acceptsSchema(theirs)) return;
    const rule = 'BUCKETS, ACTOR_KEYS and METRICS must be the same in all regions';
    throw new ProtocolError('BAD_REQUEST', `${rule}; here they are ${this.#rules.schema}`);
  }
}

function readBy<T>(read: (body: Buffer, from: string) => T, body: unknown, from: string): T {
  try {
    // Without any the parser leaves none.
    return read(Buffer.isBuffer(body) ? body : Buffer.alloc(0), from);
  } catch (error) {
    if (error instanceof WireError) throw new ProtocolError('BAD_REQUEST', error.message);
    throw error;
  }
}

function toPeerStatus({ sinceMs, ...status }: LinkStatus): PeerStatusResponse {
  return { ...status, since: sinceMs === null ? null : new Date(sinceMs).toISOString() };
}
