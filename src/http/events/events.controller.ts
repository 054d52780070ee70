import { Controller, Get, HttpCode, Inject, Param, Post, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { SETTINGS } from '../../config/injection-tokens.js';
import type { Settings } from '../../config/settings.js';
import { type ErrorBody, ProtocolError, throwIfError } from '../../protocol/errors.js';
import type { EventList } from '../../protocol/http-request-schemas.js';
import { parseIdempotencyKey, parsePost, parseTally } from '../parameters.js';
import { EventAcceptor } from './event-acceptor.js';
import { EventBodies } from './event-bodies.js';
import { parseEventList } from './event-list.js';

/** The response to events: all others are kept. */
export interface EventsResponse {
  readonly accepted: number;
  readonly rejected: readonly { readonly index: number; readonly error: ErrorBody }[];
}

/** A transparent pixel. */
const GIF = Buffer.from('R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64');

/** https://wicg.github.io/nav-speculation/prefetch.html#sec-purpose-header, and `Purpose` of older browsers */
const PREFETCH = /\bprefetch\b/i;

/**
 * Events whose clients do not wait for an outcome, as docs/events.md has them. event-routes.ts takes those that are posted before Nest's
 * router does.
 */
@Controller()
export class EventsController {
  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(EventAcceptor) private readonly acceptor: EventAcceptor,
    @Inject(EventBodies) private readonly bodies: EventBodies,
  ) {}

  @Post('v1/events')
  @HttpCode(202)
  async postEvents(@Req() request: Request): Promise<EventsResponse> {
    return toResponse(await this.acceptor.accept(request, (address) => this.#readList(request, address)));
  }

  @Post('view')
  @HttpCode(202)
  async postView(@Req() request: Request): Promise<EventsResponse> {
    const { post, metric = 'views' } = request.query;
    await this.#view(request, post, metric);
    return { accepted: 1, rejected: [] };
  }

  /** A page that is fetched ahead may never be seen: its picture is served and not counted. */
  @Get('v1/:post/:metric.gif')
  async getPicture(
    @Req() request: Request,
    @Res() response: Response,
    @Param('post') post: string,
    @Param('metric') metric: string,
  ): Promise<void> {
    const { 'sec-purpose': purpose = '', purpose: formerPurpose = '' } = request.headers;
    const isCounted = request.method === 'GET' && !PREFETCH.test(`${String(purpose)} ${String(formerPurpose)}`);
    if (isCounted) await this.#view(request, post, metric);
    else {
      parsePost(post);
      parseTally(metric, this.settings.metrics);
    }
    response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    response.type('image/gif').send(GIF);
  }

  async #readList(request: Request, address: string): Promise<EventList> {
    return parseEventList(await this.bodies.read(request, address), request.headers['content-type']);
  }

  async #view(request: Request, post: unknown, metric: unknown): Promise<void> {
    const [error] = await this.acceptor.accept(request, () => {
      const tally = parseTally(metric, this.settings.metrics);
      const key = parseIdempotencyKey(request.headers) ?? undefined;
      return { events: [{ post: parsePost(post), metric: tally.name, key }] };
    });
    throwIfError(error);
  }
}

/** @throws ProtocolError when no event is kept, so that clients which look at the status alone send all of them again or none */
function toResponse(results: readonly (ErrorBody | null)[]): EventsResponse {
  const rejected: { index: number; error: ErrorBody }[] = [];
  results.forEach((error, index) => {
    if (error !== null) rejected.push({ index, error });
  });
  if (rejected.length < results.length) return { accepted: results.length - rejected.length, rejected };
  const { index, error } = rejected.find((one) => one.error.retryable) ?? rejected[0]!;
  throw new ProtocolError(error.code, `events[${index}]: ${error.message}`, error.retryAfterMs);
}
