import { Body, Controller, Get, Inject, Param, Put, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { AddressLimiter } from '../access/address-limiter.js';
import { Authenticator, type Identity } from '../access/authenticator.js';
import { BotFilter } from '../access/bot-filter.js';
import { CreationLimiter, type ClientCreations } from '../access/creation-limiter.js';
import { GuestPolicy } from '../access/guest-policy.js';
import { toRequestKey } from '../access/name-hashing.js';
import { PostSignatureVerifier } from '../access/post-signature-verifier.js';
import { type Clock, readSecond } from '../common/clock.js';
import type { PostCounts } from '../counters/batch.js';
import { explainNoDecrement, explainUnique, type Metric } from '../counters/metrics.js';
import { APPLIED, ON, REACHED } from '../counters/operation.js';
import { Ingest } from '../ingest/ingest.js';
import { OperationCounts, type OperationKind } from '../ingest/operation-counts.js';
import type { Action } from '../protocol/http-request-schemas.js';
import { ProtocolError, throwIfError } from '../protocol/errors.js';
import type { Settings } from '../config/settings.js';
import { CLOCK, DATA_CLOCK, SETTINGS } from '../config/injection-tokens.js';
import { CountReader, type CountView } from './count-reader.js';
import { HttpOperation } from './http-operation.js';
import { VERSION_HEADER } from './version-header.js';
import {
  parseAction,
  parseCredentials,
  parseConsistency,
  parseIdempotencyKey,
  parseMetric,
  parsePost,
  parsePosts,
} from './parameters.js';

/** One count of one post. */
export interface CountResponse {
  readonly count: number;
  /** When the post last changed, RFC 3339 in UTC; `null` for an unknown post. */
  readonly updated_at: string | null;
  /** Only with an actor, of a toggle or a choice: whether it is on. */
  readonly on?: boolean;
  /** Only after an operation with an actor: whether it changed the count. */
  readonly applied?: boolean;
  /** Only after the operation with which the count reached a milestone, and after its duplicates. */
  readonly reached?: true;
}

/** All counts of one post: `{ post, likes, views, …, live, updated_at }`; with an actor also `mine`. */
export type PostCountsResponse = Readonly<Record<string, string | number | null | readonly string[]>>;

interface PutRequest {
  readonly post: string;
  readonly metric: Metric;
  readonly action: Action;
  readonly key: string | null;
  /** Whether a bot adds: then nothing is counted. */
  readonly isLeftOut: boolean;
}

/** Counters over HTTP, as docs/protocol.md has them. Errors are ProtocolErrors, which ProtocolErrorFilter answers. */
@Controller('v1')
export class CountersController {
  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(DATA_CLOCK) private readonly dataClock: Clock,
    @Inject(Ingest) private readonly ingest: Ingest,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(CreationLimiter) private readonly creationLimiter: CreationLimiter,
    @Inject(PostSignatureVerifier) private readonly postSignatures: PostSignatureVerifier | null,
    @Inject(Authenticator) private readonly authenticator: Authenticator,
    @Inject(BotFilter) private readonly bots: BotFilter,
    @Inject(GuestPolicy) private readonly guests: GuestPolicy,
    @Inject(OperationCounts) private readonly counts: OperationCounts,
    @Inject(CountReader) private readonly reader: CountReader,
  ) {}

  @Get('counts')
  async getCounts(@Req() request: Request): Promise<{ counts: PostCountsResponse[] }> {
    const posts = parsePosts(request.query['posts'], this.settings.maxPostsPerConnection);
    const views = await this.reader.readAsActor(request, posts, parseConsistency(request.query['consistency']));
    return { counts: views.map((view) => this.#toPostCounts(view)) };
  }

  @Get(':post/:metric')
  async getCount(
    @Req() request: Request,
    @Param('post') id: string,
    @Param('metric') name: string,
  ): Promise<CountResponse> {
    const post = parsePost(id);
    const metric = parseMetric(name, this.settings.metrics);
    const consistency = parseConsistency(request.query['consistency']);
    if (metric?.kind.event !== 'set') {
      const [counts] = await this.reader.read(request, [post], consistency);
      return this.#toCount(counts!, metric);
    }
    const [view] = await this.reader.readAsActor(request, [post], consistency);
    const { counts, on } = view!;
    return { ...this.#toCount(counts, metric), ...(on !== null && { on: (on & (1 << metric.index)) !== 0 }) };
  }

  /** Responds when the operation is committed and durable. */
  @Put(':post/:metric')
  async putCount(
    @Req() request: Request,
    @Param('post') id: string,
    @Param('metric') name: string,
    @Body() body: unknown,
    @Res({ passthrough: true }) response: Response,
  ): Promise<CountResponse> {
    const { operation, creations, isLeftOut } = await this.#accept(request, id, name, body);
    const metric = this.settings.metrics.list[operation.metric]!;
    if (isLeftOut) {
      this.bots.leaveOut(1);
      const counts = await this.reader.readAdmitted(operation.post);
      return { ...this.#toCount(counts, metric), ...(operation.actor !== null && { applied: false }) };
    }
    this.ingest.submit(operation);
    const { counts, outcome } = await operation.done;
    creations?.chargeNewPost(outcome, counts);
    response.setHeader(VERSION_HEADER, `${counts.e} ${counts.v}`);
    return {
      ...this.#toCount(counts, metric),
      ...(operation.actor !== null && toOutcome(outcome, metric)),
      ...((outcome & REACHED) !== 0 && { reached: true }),
    };
  }

  /** Counts only rejections from here: ingest emits the results of the others. */
  async #accept(
    request: Request,
    id: string,
    name: string,
    body: unknown,
  ): Promise<{ operation: HttpOperation; creations: ClientCreations | null; isLeftOut: boolean }> {
    let kind: OperationKind = 'unknown';
    try {
      const put = this.#parsePut(request, id, name, body);
      const visitor = { address: this.addresses.addressOf(request), userAgent: request.headers['user-agent'] };
      const identity = await this.authenticator.identify(parseCredentials(request.headers), visitor);
      throwIfError(this.guests.findRejection(identity, put.metric));
      const operation = this.#toOperation(put, identity);
      kind = operation.kind;
      return { operation, creations: this.#admit(visitor.address, operation, identity), isLeftOut: put.isLeftOut };
    } catch (error) {
      if (error instanceof ProtocolError) this.counts.add(kind, error.body.code);
      throw error;
    }
  }

  #parsePut(request: Request, id: string, name: string, body: unknown): PutRequest {
    const post = parsePost(id);
    const metric = parseMetric(name, this.settings.metrics);
    if (metric === null) throw new ProtocolError('BAD_REQUEST', 'live cannot be changed: it counts current viewers');
    const { action, automated } = parseAction(body);
    const fault = action === 'decrement' ? explainNoDecrement(metric) : null;
    if (fault !== null) throw new ProtocolError('BAD_REQUEST', `action must be "increment": ${fault}`);
    const isLeftOut = metric.kind.event === 'add' && this.bots.isBot(request.headers['user-agent'], automated);
    return { post, metric, action, key: parseIdempotencyKey(request.headers), isLeftOut };
  }

  #toOperation({ post, metric, action, key: idempotencyKey }: PutRequest, { actor, key }: Identity): HttpOperation {
    const fault = key === null ? explainUnique(metric) : null;
    if (fault !== null) throw new ProtocolError('BAD_REQUEST', `Actor-Id must name the actor: ${fault}`);
    const session =
      idempotencyKey === null ? null : toRequestKey({ actor, idempotencyKey, post, metric: metric.name, action });
    const { kind, value } = metric.kind.operationFor(action, key !== null);
    return new HttpOperation(post, metric.index, kind, value, key, session, readSecond(this.dataClock));
  }

  #admit(
    address: string,
    { kind, post, actor, session }: HttpOperation,
    { isVerified }: Identity,
  ): ClientCreations | null {
    const waitMs = this.addresses.operationTokenBucket(address)?.take(this.clock.nowMs()) ?? 0;
    if (waitMs > 0) throw new ProtocolError('RATE_LIMITED', 'too many operations; slow down', waitMs);
    throwIfError(this.postSignatures?.check(post, address));
    const inventor = this.creationLimiter.openClient(address, isVerified ? null : actor, true);
    throwIfError(inventor?.admit(kind, post, session !== null));
    return inventor;
  }

  #toCount(counts: PostCounts, metric: Metric | null): CountResponse {
    return { count: this.reader.countMetric(counts, metric), updated_at: this.#toTimestamp(counts) };
  }

  #toPostCounts({ counts, on }: CountView): PostCountsResponse {
    const reading: Record<string, PostCountsResponse[string]> = { post: counts.post };
    for (const metric of this.settings.metrics.list) reading[metric.name] = this.reader.countMetric(counts, metric);
    reading['live'] = this.reader.countMetric(counts, null);
    reading['updated_at'] = this.#toTimestamp(counts);
    if (on !== null) reading['mine'] = this.settings.metrics.listMine(on);
    return reading;
  }

  /** Not in the future: clocks of gateways differ, and one may have run ahead. */
  #toTimestamp({ updatedAtMs }: PostCounts): string | null {
    return updatedAtMs === null ? null : new Date(Math.min(updatedAtMs, this.dataClock.wallMs())).toISOString();
  }
}

/** As in the acknowledgement of a socket. */
function toOutcome(outcome: number, { kind }: Metric): Pick<CountResponse, 'on' | 'applied'> {
  return { ...(kind.event === 'set' && { on: (outcome & ON) !== 0 }), applied: (outcome & APPLIED) !== 0 };
}
