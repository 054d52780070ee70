import type { z } from 'zod';
import type { Metrics } from '../counters/metrics.js';
import type { Fanout, FirstView } from '../fanout/fanout.js';
import { buildMetricRules } from '../fanout/metric-rules.js';
import { toUpdate } from '../fanout/post-snapshot.js';
import type { OperationCounts } from '../ingest/operation-counts.js';
import { type ErrorBody, errorBody } from '../protocol/errors.js';
import type { MetricRules, SubscribeResponse } from '../protocol/messages.js';
import type { Connection } from './connection.js';
import type { SUBSCRIBE } from '../protocol/request-schemas.js';
import { type AckId, toAsciiJson } from './socket-output.js';

type Request = z.output<typeof SUBSCRIBE>;

/** Handles `subscribe`: admits posts up to a connection's limit, and acknowledges with their first snapshots. */
export class Subscriptions {
  readonly #rules: MetricRules;

  constructor(
    private readonly fanout: Fanout,
    private readonly metrics: Metrics,
    private readonly counts: OperationCounts,
    private readonly postsMax: number,
  ) {
    this.#rules = buildMetricRules(metrics);
  }

  async subscribe(connection: Connection, request: Request, id: AckId): Promise<void> {
    const { admitted, rejected } = this.#admit(connection, new Set(request.posts));
    if (admitted.length === 0) {
      this.#reject(connection, this.#tooMany, id);
      return;
    }
    const { subscriptions } = connection.viewer;
    const added = admitted.filter((post) => !subscriptions.has(post));
    try {
      const show = (views: FirstView[]): void => this.#acknowledge(connection, request.known, views, rejected, id);
      await this.fanout.subscribe(connection.viewer, admitted, connection.actor, show, request.present);
    } catch {
      this.fanout.unsubscribe(connection.viewer, added);
      const error = errorBody('UNAVAILABLE', 'the store did not answer in time; subscribe again');
      this.#reject(connection, error, id);
    }
  }

  #acknowledge(
    connection: Connection,
    known: Request['known'],
    views: readonly FirstView[],
    rejected: readonly string[],
    id: AckId,
  ): void {
    const outdated: FirstView[] = [];
    const current: FirstView[] = [];
    for (const view of views) (isCurrent(view, known) ? current : outdated).push(view);
    // The response leaves out posts whose counts the client has. They follow in a frame, because `live` may have changed.
    const framed = id === null ? views : current;
    const response: SubscribeResponse = {
      ok: true,
      tickMs: this.fanout.tickMs,
      counts: outdated.map((view) => this.#buildSnapshot(view)),
      ...this.#rules,
      ...(rejected.length > 0 && { rejected: rejected.map((post) => ({ post, error: this.#tooMany })) }),
    };
    connection.output.acknowledge(id, toAsciiJson(response));
    this.fanout.resend(
      connection.viewer,
      framed.map(({ snapshot }) => snapshot.counts.post),
    );
  }

  get #tooMany(): ErrorBody {
    return errorBody('TOO_MANY_POSTS', `a connection watches at most ${this.postsMax} posts; unsubscribe from some`);
  }

  /** Admits as many as fit. A request with more posts than one connection may watch is rejected as a whole. */
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

  #reject(connection: Connection, error: ErrorBody, id: AckId): void {
    this.counts.add('subscribe', error.code);
    connection.output.reject(id, error);
  }

  #buildSnapshot({ snapshot: { counts }, live, on }: FirstView): SubscribeResponse['counts'][number] {
    return { ...toUpdate(counts, live, this.metrics), mine: this.metrics.listMine(on) };
  }
}

function isCurrent({ snapshot: { counts } }: FirstView, known: Request['known']): boolean {
  if (known === undefined || !Object.hasOwn(known, counts.post)) return false;
  const [e, v] = known[counts.post]!;
  return e === counts.e && v >= counts.v;
}
