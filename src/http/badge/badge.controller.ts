import { createHash } from 'node:crypto';
import { Controller, Get, Inject, Param, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { SETTINGS } from '../../config/injection-tokens.js';
import type { Settings } from '../../config/settings.js';
import { CountReader } from '../count-reader.js';
import { parseBadgeColor, parseBadgeLabel, parseMetric, parsePost } from '../parameters.js';
import { renderBadge } from './badge-svg.js';

/** A page that shows the picture alone is a document of this gateway: it loads and runs nothing. */
const CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox";

/** Pictures of counts, for pages that run no script. */
@Controller('v1')
export class BadgeController {
  readonly #cacheControl: string;

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(CountReader) private readonly reader: CountReader,
  ) {
    // A cache that several users share must not keep what only some of them may read.
    const visibility = settings.requireTokenToRead ? 'private' : 'public';
    this.#cacheControl = `${visibility}, max-age=${Math.ceil(settings.tickMs / 1_000)}`;
  }

  @Get(':post/:metric.svg')
  async getBadge(
    @Req() request: Request,
    @Res() response: Response,
    @Param('post') id: string,
    @Param('metric') name: string,
  ): Promise<void> {
    const post = parsePost(id);
    const metric = parseMetric(name, this.settings.metrics);
    const label = parseBadgeLabel(request.query['label'] ?? metric?.name ?? name);
    const color = parseBadgeColor(request.query['color']);
    const [counts] = await this.reader.read(request, [post], 'local');
    const count = this.reader.countMetric(counts!, metric);
    const svg = renderBadge({ label, count, color });
    response.setHeader('Cache-Control', this.#cacheControl);
    response.setHeader('Content-Security-Policy', CONTENT_SECURITY_POLICY);
    response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    // A weak one, because the picture may be compressed. `send` responds with 304 where it matches.
    response.setHeader('ETag', `W/"${createHash('sha256').update(svg).digest('base64url').slice(0, 22)}"`);
    response.type('image/svg+xml').send(svg);
  }
}
