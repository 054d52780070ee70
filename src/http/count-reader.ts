import { Inject, Injectable } from '@nestjs/common';
import type { Request } from 'express';
import { AddressLimiter } from '../access/address-limiter.js';
import { Authenticator } from '../access/authenticator.js';
import { PostSignatureVerifier } from '../access/post-signature-verifier.js';
import { STORE } from '../config/injection-tokens.js';
import type { PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { Metric } from '../counters/metrics.js';
import { Presence } from '../fanout/presence.js';
import { ProtocolError, throwIfError } from '../protocol/errors.js';
import type { Consistency } from '../protocol/http-request-schemas.js';
import { GlobalRead } from '../replication/global-read.js';
import type { CounterStore, PostView } from '../store/counter-store.js';
import type { MilestonesView } from '../store/milestone-store.js';
import { parseCredentials, parseTokenOnly } from './parameters.js';
import { ReadLimiter } from './read-limiter.js';

/** Counts of a post, and what the actor of the request has on. */
export interface CountView {
  readonly counts: PostCounts;
  /** Bit set by metric index: the toggles that are on for the actor; `null` without an actor. */
  readonly on: number | null;
}

/** Milestones of a metric of a post, and who asks for them. */
interface MilestonesForActor {
  readonly milestones: MilestonesView;
  /** `null`: the request has no actor. */
  readonly actor: Key64 | null;
}

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
    const views = await this.#read(request, posts, consistency, { address, actor: null });
    return views.map(({ counts }) => counts);
  }

  /** Also reads the toggles of the actor, which costs as much again with many of them. @throws ProtocolError */
  async readAsActor(request: Request, posts: readonly string[], consistency: Consistency): Promise<CountView[]> {
    const address = this.reads.admit(request, posts.length, consistency);
    const visitor = { address: this.addresses.addressOf(request), userAgent: request.headers['user-agent'] };
    const { key } = await this.authenticator.identify(parseCredentials(request.headers), visitor);
    const views = await this.#read(request, posts, consistency, { address, actor: key });
    return key === null ? views.map(({ counts }) => ({ counts, on: null })) : views;
  }

  /** Cost: one read of the store. The request is charged like one for the counts of the post. @throws ProtocolError */
  async readMilestones(request: Request, post: string, metric: Metric): Promise<MilestonesForActor> {
    this.reads.admit(request, 1);
    const visitor = { address: this.addresses.addressOf(request), userAgent: request.headers['user-agent'] };
    const { key } = await this.authenticator.identify(parseCredentials(request.headers), visitor);
    throwIfError(this.postSignatures?.checkAll([post], visitor.address));
    const milestones = await rejectUnavailable(() => this.store.milestones.read(post, metric.index));
    return { milestones, actor: key };
  }

  async #read(
    request: Request,
    posts: readonly string[],
    consistency: Consistency,
    { address, actor }: { readonly address: string | null; readonly actor: Key64 | null },
  ): Promise<PostView[]> {
    throwIfError(this.postSignatures?.checkAll(posts, this.addresses.addressOf(request)));
    return await rejectUnavailable(async () => {
      if (consistency === 'all') await this.globalRead.refresh(posts, address);
      return this.store.read(posts, actor);
    });
  }

  /** Reads counts for a request that has passed the limits on operations instead. @throws ProtocolError */
  async readAdmitted(post: string): Promise<PostCounts> {
    const [view] = await rejectUnavailable(() => this.store.read([post], null));
    return view!.counts;
  }

  /** @param metric `null`: live */
  countMetric(counts: PostCounts, metric: Metric | null): number {
    return metric === null ? this.presence.countLive(counts) : (counts.totals[metric.index] ?? 0);
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
