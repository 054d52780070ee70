import { Inject, Injectable } from '@nestjs/common';
import type { Request } from 'express';
import { AddressLimiter } from '../access/address-limiter.js';
import { Authenticator } from '../access/authenticator.js';
import { PostSignatureVerifier } from '../access/post-signature-verifier.js';
import { STORE } from '../config/injection-tokens.js';
import type { PostCounts } from '../counters/batch.js';
import type { Metric } from '../counters/metrics.js';
import { Presence } from '../fanout/presence.js';
import { ProtocolError, throwIfError } from '../protocol/errors.js';
import type { Consistency } from '../protocol/http-request-schemas.js';
import { GlobalRead } from '../replication/global-read.js';
import type { CounterStore } from '../store/counter-store.js';
import { parseTokenOnly } from './parameters.js';
import { ReadLimiter } from './read-limiter.js';

/** Reads counts for a request, once it has passed what every read has to pass: limits, tokens, signatures. */
@Injectable()
export class CountReader {
  constructor(
    @Inject(STORE) private readonly store: CounterStore,
    @Inject(Presence) private readonly presence: Presence,
    @Inject(ReadLimiter) private readonly reads: ReadLimiter,
    @Inject(Authenticator) private readonly authenticator: Authenticator,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(PostSignatureVerifier) private readonly postSignatures: PostSignatureVerifier | null,
    @Inject(GlobalRead) private readonly globalRead: GlobalRead,
  ) {}

  /**
   * Cost: one read of the store, whatever the number of posts. With consistency=all: see GlobalRead.
   * @throws ProtocolError
   */
  async read(request: Request, posts: readonly string[], consistency: Consistency): Promise<PostCounts[]> {
    const address = this.reads.admit(request, posts.length, consistency);
    await this.authenticator.identify(parseTokenOnly(request.headers), null);
    throwIfError(this.postSignatures?.checkAll(posts, this.addresses.addressOf(request)));
    return await rejectUnavailable(async () => {
      if (consistency === 'all') await this.globalRead.refresh(posts, address);
      return this.#readStore(posts);
    });
  }

  /** Reads counts for a request that has passed the limits on operations instead. @throws ProtocolError */
  readAdmitted(posts: readonly string[]): Promise<PostCounts[]> {
    return rejectUnavailable(() => this.#readStore(posts));
  }

  /** @param metric `null`: live */
  countMetric(counts: PostCounts, metric: Metric | null): number {
    return metric === null ? this.presence.countLive(counts) : (counts.totals[metric.index] ?? 0);
  }

  async #readStore(posts: readonly string[]): Promise<PostCounts[]> {
    const views = await this.store.read(posts, null);
    return views.map(({ counts }) => counts);
  }
}

/** @throws ProtocolError UNAVAILABLE if the store cannot be read */
async function rejectUnavailable<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError('UNAVAILABLE', 'the store did not respond in time; retry');
  }
}
