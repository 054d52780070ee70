import { Controller, Get, Inject, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { AddressLimiter } from '../access/address-limiter.js';
import { CreationLimiter } from '../access/creation-limiter.js';
import { PostSignatureVerifier } from '../access/post-signature-verifier.js';
import { throwIfError } from '../protocol/errors.js';
import type { Settings } from '../config/settings.js';
import { SETTINGS } from '../config/injection-tokens.js';
import { checkAcceptsEvents, parsePosts, parsePresent, parseStreamCredentials } from './parameters.js';
import { ReadLimiter } from './read-limiter.js';
import { StreamRegistry } from './stream-registry.js';

@Controller('v1')
export class StreamController {
  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(ReadLimiter) private readonly reads: ReadLimiter,
    @Inject(StreamRegistry) private readonly streams: StreamRegistry,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(CreationLimiter) private readonly creationLimiter: CreationLimiter,
    @Inject(PostSignatureVerifier) private readonly postSignatures: PostSignatureVerifier | null,
  ) {}

  @Get('stream')
  async stream(@Req() request: Request, @Res() response: Response): Promise<void> {
    checkAcceptsEvents(request.headers);
    const posts = parsePosts(request.query['posts'], this.settings.maxPostsPerConnection);
    const isPresent = parsePresent(request.query['present']);
    const credentials = parseStreamCredentials(request);
    this.reads.admit(request, posts.length);
    const address = this.addresses.addressOf(request);
    throwIfError(this.creationLimiter.openClient(address, null, false)?.admitLookups(posts.length));
    throwIfError(this.postSignatures?.checkAll(posts, address));
    await this.streams.open(request, response, { posts, isPresent, credentials });
  }
}
