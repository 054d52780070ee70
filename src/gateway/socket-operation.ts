import type { PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { Metric, Metrics } from '../counters/metrics.js';
import { APPLIED, DUPLICATE, ON, type Operation } from '../counters/operation.js';
import { writeCounts } from '../fanout/snapshot.js';
import type { PendingOperation } from '../ingest/pending-operation.js';
import type { Presence } from '../fanout/presence.js';
import type { AsciiWriter, Writable } from '../common/ascii-writer.js';
import type { ErrorBody } from '../protocol/errors.js';
import type { AckId, Connection } from './connection.js';

/** Everything that an answer is made of beside the operation. */
export interface Answering {
  readonly presence: Presence;
  readonly metrics: Metrics;
  readonly nowMs: () => number;
}

/** An operation that came over a socket, on its way through ingest. */
export class SocketOperation implements PendingOperation, Writable {
  acceptedAtMs = 0;
  readonly metric: number;
  readonly actor: Key64;
  readonly session: Key64 | null;
  readonly seq: number;
  #outcome = 0;
  #counts: PostCounts | null = null;

  constructor(
    private readonly answering: Answering,
    private readonly connection: Connection,
    private readonly id: AckId,
    readonly post: string,
    metric: Metric,
    readonly kind: Operation['kind'],
    readonly value: number,
    seq: number | undefined,
  ) {
    this.metric = metric.index;
    this.actor = connection.actor;
    this.session = seq === undefined ? null : connection.session;
    this.seq = this.session === null ? 0 : (seq ?? 0);
    connection.beginOperation();
  }

  get socketId(): string {
    return this.connection.socket.id;
  }

  get notifiesActor(): boolean {
    return this.connection.identity.key !== null;
  }

  settled(outcome: number, counts: PostCounts): void {
    const { connection } = this;
    connection.inventor?.chargeNewPost(outcome, counts);
    if (this.id !== null) {
      this.#outcome = outcome;
      this.#counts = counts;
      connection.send(this);
    }
    connection.endOperation();
  }

  /** Once it is settled: the packet that acknowledges it. */
  writeTo(writer: AsciiWriter): void {
    const { answering, kind } = this;
    const outcome = this.#outcome;
    const counts = this.#counts!;
    writer.text('3').integer(this.id!);
    writer.text((outcome & APPLIED) !== 0 ? '[{"ok":true,"applied":true' : '[{"ok":true,"applied":false');
    writer.text((outcome & DUPLICATE) !== 0 ? ',"duplicate":true' : ',"duplicate":false');
    if (kind === 'set') writer.text((outcome & ON) !== 0 ? ',"on":true' : ',"on":false');
    writeCounts(writer.text(',"counts":'), counts, answering.presence.countLive(counts), answering.metrics);
    writer.text('}}]');
  }

  failed(error: ErrorBody): void {
    const { connection, answering } = this;
    connection.operations.markFailed(this.seq);
    if (error.retryAfterMs !== undefined) connection.operations.block(answering.nowMs(), error.retryAfterMs, this.seq);
    connection.reject(this.id, error);
    connection.endOperation();
  }
}
