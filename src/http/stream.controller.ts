import { Controller, Get, Inject, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { AddressLimiter } from '../access/address-limiter.js';
import { Inventions } from '../access/inventions.js';
import { SignedPosts } from '../access/signed-posts.js';
import { throwIf } from '../protocol/errors.js';
import type { Settings } from '../config/settings.js';
import { SETTINGS } from '../config/injection-tokens.js';
import { mustWantEvents, postsOf } from './parameters.js';
import { Reads } from './reads.js';
import { StreamRegistry } from './stream-registry.js';

@Controller('v1')
export class StreamController {
  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(Reads) private readonly reads: Reads,
    @Inject(StreamRegistry) private readonly streams: StreamRegistry,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(Inventions) private readonly inventions: Inventions,
    @Inject(SignedPosts) private readonly signedPosts: SignedPosts | null,
  ) {}

  @Get('stream')
  async stream(@Req() request: Request, @Res() response: Response): Promise<void> {
    mustWantEvents(request.headers);
    const posts = postsOf(request.query['posts'], this.settings.maxPostsPerConnection);
    this.reads.admit(request, posts.length);
    const address = this.addresses.of(request);
    throwIf(this.inventions.open(address, null, false)?.admitLookups(posts.length));
    throwIf(this.signedPosts?.checkAll(posts, address));
    await this.streams.open(request, response, posts);
  }
}
