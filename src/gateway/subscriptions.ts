import type { z } from 'zod';
import type { Metrics } from '../counters/metrics.js';
import type { Fanout, FirstView } from '../fanout/fanout.js';
import { updateOf } from '../fanout/snapshot.js';
import type { Presence } from '../presence/presence.js';
import { errorBody } from '../protocol/errors.js';
import type { SubscribeAnswer } from '../protocol/messages.js';
import type { Acknowledge, Connection } from './connection.js';
import type { SUBSCRIBE } from './schemas.js';

type Request = z.output<typeof SUBSCRIBE>;

/** `subscribe`: which posts a connection may watch, and what it is shown of them first. */
export class Subscriptions {
  constructor(
    private readonly fanout: Fanout,
    private readonly presence: Presence,
    private readonly metrics: Metrics,
    private readonly postsMax: number,
  ) {}

  async subscribe(connection: Connection, request: Request, acknowledge: Acknowledge | undefined): Promise<void> {
    const { admitted, rejected } = this.#admit(connection, new Set(request.posts));
    const tooMany = errorBody(
      'TOO_MANY_POSTS',
      `a connection watches at most ${this.postsMax} posts; unsubscribe from some`,
    );
    if (admitted.length === 0) {
      connection.refuse(acknowledge, tooMany);
      return;
    }
    let views: FirstView[];
    try {
      views = await this.fanout.subscribe(connection.viewer, admitted, connection.actor);
    } catch {
      this.fanout.unsubscribe(connection.viewer, admitted);
      connection.refuse(acknowledge, errorBody('UNAVAILABLE', 'the store did not answer in time; subscribe again'));
      return;
    }
    const news = views.filter((view) => !isKnown(view, request.known));
    if (acknowledge === undefined) {
      if (news.length > 0) connection.write(`[${news.map(({ snapshot }) => snapshot.whole()).join(',')}]`);
      return;
    }
    const answer: SubscribeAnswer = {
      ok: true,
      tickMs: this.fanout.tickMs,
      counts: news.map((view) => this.#first(view)),
      ...(rejected.length > 0 && { rejected: rejected.map((post) => ({ post, error: tooMany })) }),
    };
    connection.answer(acknowledge, answer);
  }

  /** As many as fit; a request that would not fit by itself is refused whole. */
  #admit({ viewer }: Connection, posts: ReadonlySet<string>): { admitted: string[]; rejected: string[] } {
    const admitted: string[] = [];
    const rejected: string[] = [];
    if (posts.size > this.postsMax) return { admitted, rejected };
    let room = this.postsMax - viewer.subscriptions.size;
    for (const post of posts) {
      if (viewer.subscriptions.has(post)) admitted.push(post);
      else if (room > 0) {
        room -= 1;
        admitted.push(post);
      } else rejected.push(post);
    }
    return { admitted, rejected };
  }

  #first({ snapshot: { counts }, on }: FirstView): SubscribeAnswer['counts'][number] {
    const mine = this.metrics.list.filter(({ index }) => (on & (1 << index)) !== 0).map(({ name }) => name);
    return { ...updateOf(counts, this.presence.connections(counts.post), this.metrics), mine };
  }
}

function isKnown({ snapshot: { counts } }: FirstView, known: Request['known']): boolean {
  if (known === undefined || !Object.hasOwn(known, counts.post)) return false;
  const [e, v] = known[counts.post]!;
  return e === counts.e && v >= counts.v;
}
