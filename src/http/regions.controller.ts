import { Controller, Get, Inject, Post, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { Authenticator } from '../access/authenticator.js';
import { ProtocolError } from '../protocol/errors.js';
import type { LinkStatus, PeerService } from '../replication/transport/peer.js';
import type { Regions } from '../replication/regions.js';
import { SHOWN_MAX } from '../replication/transport/request-splitter.js';
import { ShipmentRules } from '../replication/transport/delta-validation.js';
import { WireError } from '../replication/transport/wire-format.js';
import {
  decodeDigests,
  decodePosts,
  encodeDifferences,
  encodeReceipts,
} from '../replication/transport/message-codec.js';
import { decodeShipments, encodeShipments } from '../replication/transport/delta-codec.js';
import type { Settings } from '../config/settings.js';
import { REGIONS, SETTINGS } from '../config/injection-tokens.js';
import { readerOf } from './parameters.js';
import { PeerAuthentication } from './peer-authentication.js';
import { Reads } from './reads.js';

/** How the link to another region is doing: LinkStatus, with a time that people can read. */
export type PeerReading = Omit<LinkStatus, 'sinceMs'> & { readonly since: string | null };

/**
 * Serves other regions, in the bytes of src/replication/transport/delta-codec.ts, and tells the state of the links to
 * everybody who may read.
 * PeerAuthentication has let the caller through before its body was read.
 */
@Controller('v1/regions')
export class RegionsController {
  readonly #rules: ShipmentRules;

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(REGIONS) private readonly regions: Regions | null,
    @Inject(PeerAuthentication) private readonly guard: PeerAuthentication,
    @Inject(Authenticator) private readonly identities: Authenticator,
    @Inject(Reads) private readonly reads: Reads,
  ) {
    this.#rules = new ShipmentRules(settings.buckets, settings.actorKeys, settings.metrics);
  }

  @Get()
  async status(@Req() request: Request): Promise<{ region: string; peers: PeerReading[] }> {
    this.reads.admit(request, 0);
    await this.identities.identify(readerOf(request.headers));
    const peers = this.regions?.status() ?? [];
    return { region: this.settings.region, peers: peers.map(readingOf) };
  }

  @Post('ship')
  async ship(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#answer(request, response, (body, from) => {
      const shipments = decodeShipments(body);
      this.#rules.check(from, shipments);
      return async (service) => encodeReceipts(await service.shipped(from, shipments));
    });
  }

  @Post('compare')
  async compare(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#answer(request, response, (body, from) => {
      const digests = decodeDigests(body);
      for (const { bucket } of digests) this.#rules.checkBucket(bucket);
      return async (service) => encodeDifferences(await service.compared(from, digests));
    });
  }

  @Post('show')
  async show(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#answer(request, response, (body) => {
      const posts = decodePosts(body);
      if (posts.length > SHOWN_MAX) throw new WireError(`posts must be at most ${SHOWN_MAX}`);
      return async (service) => encodeShipments(await service.shown(posts));
    });
  }

  /** @param read checks the body, and says what to answer; it throws WireErrors */
  async #answer(
    request: Request,
    response: Response,
    read: (body: Buffer, from: string) => (service: PeerService) => Promise<Buffer>,
  ): Promise<void> {
    const from = this.guard.callerOf(request);
    if (this.regions === null || from === undefined) throw new ProtocolError('FORBIDDEN', 'this is for other regions');
    this.#mustCountAlike(request);
    const answer = readBy(read, request.body, from);
    const bytes = await answer(this.regions.service).catch(() => {
      throw new ProtocolError('UNAVAILABLE', 'the store did not answer in time; ask again');
    });
    response.status(200).type('application/octet-stream').send(bytes);
  }

  #mustCountAlike(request: Request): void {
    const theirs = request.headers['tallycast-counts'];
    if (typeof theirs === 'string' && this.#rules.counts(theirs)) return;
    const rule = 'BUCKETS, ACTOR_KEYS and METRICS must be the same in all regions';
    throw new ProtocolError('BAD_REQUEST', `${rule}; here they are ${this.#rules.counted}`);
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

function readingOf({ sinceMs, ...status }: LinkStatus): PeerReading {
  return { ...status, since: sinceMs === null ? null : new Date(sinceMs).toISOString() };
}
