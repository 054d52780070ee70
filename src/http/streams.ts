import { Inject, Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';
import { Addresses } from '../access/addresses.js';
import { Identities } from '../access/identity.js';
import type { Clock } from '../clock.js';
import type { Key64 } from '../counters/ids.js';
import { Fanout } from '../fanout/fanout.js';
import type { Viewer } from '../fanout/viewer.js';
import { ProtocolError } from '../protocol/errors.js';
import { CLOCK } from '../tokens.js';
import { EventStream, STREAM_HEADERS } from './event-stream.js';
import { claimOf } from './parameters.js';

const DRAINING_RETRY_MS = 1_000;

/** The open event streams: each is a viewer like a socket, and counts in `live`. */
@Injectable()
export class Streams {
  /** Set when the gateway drains: nobody comes in any more. */
  draining = false;
  readonly #open = new Map<EventStream, Viewer>();

  constructor(
    @Inject(Fanout) private readonly fanout: Fanout,
    @Inject(Addresses) private readonly addresses: Addresses,
    @Inject(Identities) private readonly identities: Identities,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Resolves when the snapshot was written, or the client went away before; frames follow until it does.
   * @throws ProtocolError while nothing has been written yet, so that it can be answered like any other.
   */
  async open(request: Request, response: Response, posts: readonly string[]): Promise<void> {
    this.#refuseWhileDraining();
    // Here already, so that it counts while its token is verified; `close` comes however the request ends.
    this.addresses.connect(this.addresses.of(request), response);
    const { actor, key, expiresAtMs } = await this.identities.identify(claimOf(request.headers));
    if (isGone(response)) return;
    if (request.method === 'HEAD') {
      response.writeHead(200, STREAM_HEADERS).end();
      return;
    }
    const stream = new EventStream(response, this.clock);
    const viewer = this.fanout.open(actor, stream);
    response.once('close', () => {
      this.#open.delete(stream);
      stream.closed();
      this.fanout.close(viewer);
    });
    const snapshot = await this.#snapshot(viewer, posts, key);
    if (isGone(response)) return;
    this.#refuseWhileDraining();
    this.#open.set(stream, viewer);
    stream.begin(snapshot);
    stream.expireAt(expiresAtMs);
  }

  /** Ends all, with what they have not been sent yet; each client is asked to come back after a time of its own. */
  bye(reason: string, retryAfterMs: () => number): void {
    this.fanout.flush(this.#open.values());
    for (const stream of this.#open.keys()) stream.bye({ reason, retryAfterMs: retryAfterMs() });
  }

  async #snapshot(viewer: Viewer, posts: readonly string[], actor: Key64 | null): Promise<string> {
    try {
      const views = await this.fanout.subscribe(viewer, posts, actor);
      return `[${views.map(({ snapshot }) => snapshot.whole()).join(',')}]`;
    } catch {
      throw new ProtocolError('UNAVAILABLE', 'the store did not answer in time; ask again');
    }
  }

  #refuseWhileDraining(): void {
    if (this.draining) throw new ProtocolError('OVERLOADED', 'the gateway is closing; reconnect', DRAINING_RETRY_MS);
  }
}

/** The client went away: nothing will be read, and `close` has been or is about to be told. */
function isGone(response: Response): boolean {
  return response.closed;
}
