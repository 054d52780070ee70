import type { AsciiWriter, Writable } from '../common/ascii-writer.js';
import { readSecond } from '../common/clock.js';
import type { PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import { APPLIED, DUPLICATE, ON, type Operation, REACHED } from '../counters/operation.js';
import { writeCounts } from '../fanout/post-snapshot.js';
import type { PendingOperation } from '../ingest/pending-operation.js';
import type { ErrorBody } from '../protocol/errors.js';
import type { Connection } from './connection.js';
import type { HandlerContext } from './handler-context.js';
import type { AckId } from './socket-output.js';

/** An operation from a socket: it acknowledges itself when ingest has committed or rejected it. */
export class SocketOperation implements PendingOperation, Writable {
  acceptedAtMs = 0;
  readonly actor: Key64;
  readonly session: Key64 | null;
  readonly seq: number;
  readonly atS: number;
  #outcome = 0;
  #counts: PostCounts | null = null;

  constructor(
    private readonly context: HandlerContext,
    private readonly connection: Connection,
    private readonly id: AckId,
    readonly post: string,
    readonly metric: number,
    readonly kind: Operation['kind'],
    readonly value: number,
    seq: number | undefined,
  ) {
    this.actor = connection.actor;
    this.session = seq === undefined ? null : connection.session;
    this.seq = this.session === null ? 0 : (seq ?? 0);
    this.atS = kind === 'visit' ? readSecond(context.dataClock) : 0;
    connection.order.beginOperation();
  }

  get socketId(): string {
    return this.connection.socket.id;
  }

  get notifiesActor(): boolean {
    return this.connection.identity.key !== null;
  }

  settled(outcome: number, counts: PostCounts): void {
    const { connection } = this;
    connection.creations?.chargeNewPost(outcome, counts);
    if (this.id !== null) {
      this.#outcome = outcome;
      this.#counts = counts;
      connection.output.send(this);
    }
    connection.order.endOperation();
  }

  /** Writes the packet that acknowledges the operation, once it is settled. */
  writeTo(writer: AsciiWriter): void {
    const { context, kind } = this;
    const outcome = this.#outcome;
    const counts = this.#counts!;
    writer.text('3').integer(this.id!);
    writer.text((outcome & APPLIED) !== 0 ? '[{"ok":true,"applied":true' : '[{"ok":true,"applied":false');
    writer.text((outcome & DUPLICATE) !== 0 ? ',"duplicate":true' : ',"duplicate":false');
    if ((outcome & REACHED) !== 0) writer.text(',"reached":true');
    if (kind === 'set' && context.isSettable[this.metric])
      writer.text((outcome & ON) !== 0 ? ',"on":true' : ',"on":false');
    writeCounts(writer.text(',"counts":'), counts, context.presence.countLive(counts), context.metrics);
    writer.text('}}]');
  }

  failed(error: ErrorBody): void {
    const { connection, context } = this;
    const { operations } = connection;
    operations.markFailed(this.seq);
    if (error.retryAfterMs !== undefined) operations.block(context.clock.nowMs(), error.retryAfterMs, this.seq);
    connection.output.reject(this.id, error);
    connection.order.endOperation();
  }
}
