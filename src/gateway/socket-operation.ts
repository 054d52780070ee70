import type { PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { Metric, Metrics } from '../counters/metrics.js';
import { APPLIED, DUPLICATE, ON, type Operation } from '../counters/operation.js';
import type { Actors } from '../fanout/actors.js';
import { encodedCounts } from '../fanout/snapshot.js';
import { type OperationCounts, resultOf } from '../ingest/operation-counts.js';
import type { PendingOperation } from '../ingest/pending-operation.js';
import type { Presence } from '../presence/presence.js';
import type { ErrorBody } from '../protocol/errors.js';
import type { AnswerId, Connection } from './connection.js';

/** What answering needs. */
export interface Answering {
  readonly presence: Presence;
  readonly actors: Actors;
  readonly metrics: Metrics;
  readonly counts: OperationCounts;
  readonly nowMs: () => number;
}

/** An operation that came over a socket, on its way through ingest. */
export class SocketOperation implements PendingOperation {
  acceptedAtMs = 0;
  readonly metric: number;
  readonly actor: Key64;
  readonly session: Key64 | null;
  readonly seq: number;

  constructor(
    private readonly answering: Answering,
    private readonly connection: Connection,
    private readonly id: AnswerId,
    readonly post: string,
    private readonly of: Metric,
    readonly kind: Operation['kind'],
    readonly value: number,
    seq: number | undefined,
  ) {
    this.metric = of.index;
    this.actor = connection.actor;
    this.session = seq === undefined ? null : connection.session;
    this.seq = this.session === null ? 0 : (seq ?? 0);
    connection.begin();
  }

  settled(outcome: number, counts: PostCounts): void {
    const { connection, answering, kind, post, of } = this;
    const applied = (outcome & APPLIED) !== 0;
    const on = (outcome & ON) !== 0;
    answering.counts.add(kind, resultOf(outcome));
    if (this.id !== null) {
      const live = answering.presence.live(counts);
      connection.answer(
        this.id,
        `{"ok":true,"applied":${applied},"duplicate":${(outcome & DUPLICATE) !== 0}` +
          `${kind === 'set' ? `,"on":${on}` : ''},"counts":${encodedCounts(counts, live, answering.metrics)}}}`,
      );
    }
    const { key } = connection.identity;
    if (applied && kind === 'set' && key !== null) {
      answering.actors.toggled(key, { post, metric: of.name, on }, connection.socket.id);
    }
    connection.end();
  }

  failed(error: ErrorBody): void {
    const { connection, answering } = this;
    answering.counts.add(this.kind, error.code);
    if (error.retryAfterMs !== undefined) connection.operations.close(answering.nowMs(), error.retryAfterMs);
    connection.refuse(this.id, error);
    connection.end();
  }
}
