import { Controller, Inject, Post, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { REPLICATION, SETTINGS } from '../config/injection-tokens.js';
import type { Settings } from '../config/settings.js';
import { ForwardedIntake } from '../ingest/forwarded-intake.js';
import { ProtocolError } from '../protocol/errors.js';
import type { Replication } from '../replication/start-replication.js';
import { decodeDeltas, encodeDeltas } from '../replication/transport/delta-codec.js';
import { DeltaValidation } from '../replication/transport/delta-validation.js';
import {
  decodeDigests,
  decodeOperations,
  decodePosts,
  encodeAcks,
  encodeDifferences,
  encodeOutcomes,
  encodeSettings,
} from '../replication/transport/message-codec.js';
import type { PeerService } from '../replication/transport/peer.js';
import { POSTS_PER_READ_MAX } from '../replication/transport/request-splitter.js';
import { WireError } from '../replication/transport/wire-format.js';
import { PeerAuthentication } from './peer-authentication.js';

/**
 * Serves other regions, in the format of src/replication/transport/delta-codec.ts. PeerAuthentication has authenticated the caller before
 * its body was read.
 */
@Controller('v1/replication')
export class ReplicationController {
  readonly #validation: DeltaValidation;
  readonly #hasLog: boolean;

  constructor(
    @Inject(SETTINGS) { buckets, actorKeys, metrics, log }: Settings,
    @Inject(REPLICATION) private readonly replication: Replication,
    @Inject(ForwardedIntake) private readonly forwarded: ForwardedIntake,
    @Inject(PeerAuthentication) private readonly peerAuthentication: PeerAuthentication,
  ) {
    this.#validation = new DeltaValidation(buckets, actorKeys, metrics);
    this.#hasLog = log !== null;
  }

  @Post('deltas')
  async mergeDeltas(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#respond(request, response, (body, from) => {
      const deltas = decodeDeltas(body);
      this.#validation.check(from, deltas);
      return async (service) => encodeAcks(await service.mergeFrom(from, deltas));
    });
  }

  @Post('digests')
  async compareDigests(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#respond(request, response, (body, from) => {
      const digests = decodeDigests(body);
      for (const { bucket } of digests) this.#validation.checkBucket(bucket);
      return async (service) => encodeDifferences(await service.compareDigests(from, digests));
    });
  }

  @Post('posts')
  async readPosts(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#respond(request, response, (body) => {
      const posts = decodePosts(body);
      if (posts.length > POSTS_PER_READ_MAX) throw new WireError(`posts must be at most ${POSTS_PER_READ_MAX}`);
      return async (service) => encodeDeltas(await service.readPosts(posts));
    });
  }

  @Post('operations')
  async doOperations(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#respond(request, response, (body) => {
      const operations = decodeOperations(body);
      this.#validation.checkOperations(operations);
      return async () => encodeOutcomes(await this.forwarded.accept(operations));
    });
  }

  @Post('settings')
  async readSettings(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.#respond(request, response, () => () => Promise.resolve(encodeSettings({ hasLog: this.#hasLog })));
  }

  /** @param parse checks the body and returns the call that answers it; throws WireErrors */
  async #respond(
    request: Request,
    response: Response,
    parse: (body: Buffer, from: string) => (service: PeerService) => Promise<Buffer>,
  ): Promise<void> {
    const from = this.peerAuthentication.authenticatedRegion(request);
    if (from === undefined) throw new ProtocolError('FORBIDDEN', 'only other regions may call this');
    this.#requireSameSchema(request);
    const call = parseBody(parse, request.body, from);
    const bytes = await call(this.replication.peerService).catch(() => {
      throw new ProtocolError('UNAVAILABLE', 'the store did not respond in time; retry later');
    });
    response.status(200).type('application/octet-stream').send(bytes);
  }

  #requireSameSchema(request: Request): void {
    const schema = request.headers['tallycast-schema'];
    if (typeof schema === 'string' && this.#validation.acceptsSchema(schema)) return;
    const rule = 'BUCKETS, ACTOR_KEYS and METRICS must be the same in all regions';
    throw new ProtocolError('BAD_REQUEST', `${rule}; here they are ${this.#validation.schema}`);
  }
}

function parseBody<T>(parse: (body: Buffer, from: string) => T, body: unknown, from: string): T {
  try {
    // The body parser leaves no buffer if the request has no body.
    return parse(Buffer.isBuffer(body) ? body : Buffer.alloc(0), from);
  } catch (error) {
    if (error instanceof WireError) throw new ProtocolError('BAD_REQUEST', error.message);
    throw error;
  }
}
