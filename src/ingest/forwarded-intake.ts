import type { Key64 } from '../counters/ids.js';
import { ELSEWHERE, type Operation } from '../counters/operation.js';
import type { ForwardedOperation } from '../counters/replication/forwarded-operation.js';
import type { Ingest } from './ingest.js';
import type { PendingOperation } from './pending-operation.js';

/** Does operations that other regions have forwarded. */
export class ForwardedIntake {
  constructor(private readonly ingest: Pick<Ingest, 'submit'>) {}

  /** @returns their outcomes; ELSEWHERE for those that failed, which may be counted all the same. Later ones of the session are not. */
  accept(operations: readonly ForwardedOperation[]): Promise<readonly number[]> {
    return Promise.all(
      operations.map(
        (operation) => new Promise<number>((resolve) => this.ingest.submit(new ReceivedOperation(operation, resolve))),
      ),
    );
  }
}

class ReceivedOperation implements PendingOperation {
  acceptedAtMs = 0;
  readonly socketId = null;
  readonly notifiesActor: boolean;
  readonly post: string;
  readonly metric: number;
  readonly kind: Operation['kind'];
  readonly value: number;
  readonly actor: Key64 | null;
  readonly session: Key64 | null;
  readonly seq: number;
  readonly atS: number;
  readonly isForwarded = true;
  readonly hops: number;

  constructor(
    { post, metric, kind, value, actor, session, seq, atS, hops }: ForwardedOperation,
    private readonly resolve: (outcome: number) => void,
  ) {
    this.notifiesActor = actor !== null;
    this.post = post;
    this.metric = metric;
    this.kind = kind;
    this.value = value;
    this.actor = actor;
    this.session = session;
    this.seq = seq;
    this.atS = atS ?? 0;
    this.hops = hops;
  }

  settled(outcome: number): void {
    this.resolve(outcome);
  }

  failed(): void {
    this.resolve(ELSEWHERE);
  }
}
