import type { PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { Operation } from '../counters/operation.js';
import { type ErrorBody, ProtocolError } from '../protocol/errors.js';
import type { AcceptedEvent, EventIntake } from './event-intake.js';
import type { Ingest } from './ingest.js';
import type { PendingOperation } from './pending-operation.js';

/** Keeps events by committing them: without a log in front of the store. */
export class DirectIntake implements EventIntake {
  constructor(private readonly ingest: Pick<Ingest, 'submit'>) {}

  accept(events: readonly AcceptedEvent[]): Promise<readonly (ErrorBody | null)[]> {
    return new Promise((resolve, reject) => {
      const request = new EventRequest(events.length, resolve, reject);
      events.forEach((event, index) => this.ingest.submit(new PendingEvent(event, request, index)));
    });
  }
}

/** The events of one request on their way through ingest. */
class EventRequest {
  readonly #results: (ErrorBody | null)[];
  #waiting: number;
  #unavailable: ErrorBody | null = null;
  #shed = 0;

  constructor(
    events: number,
    private readonly resolve: (results: readonly (ErrorBody | null)[]) => void,
    private readonly reject: (error: ProtocolError) => void,
  ) {
    this.#results = new Array<ErrorBody | null>(events).fill(null);
    this.#waiting = events;
    if (events === 0) resolve([]);
  }

  committed(): void {
    this.#waiting -= 1;
    if (this.#waiting === 0) this.#finish();
  }

  failed(index: number, error: ErrorBody): void {
    this.#results[index] = error;
    if (error.code === 'UNAVAILABLE') this.#unavailable = error;
    else this.#shed += 1;
    this.committed();
  }

  #finish(): void {
    const isNothingKept = this.#shed === this.#results.length;
    const error = this.#unavailable ?? (isNothingKept ? this.#results[0]! : null);
    if (error === null) this.resolve(this.#results);
    else this.reject(new ProtocolError(error.code, error.message, error.retryAfterMs));
  }
}

class PendingEvent implements PendingOperation {
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

  constructor(
    private readonly event: AcceptedEvent,
    private readonly request: EventRequest,
    private readonly index: number,
  ) {
    this.notifiesActor = event.notifiesActor;
    this.post = event.post;
    this.metric = event.metric;
    this.kind = event.kind;
    this.value = event.value;
    this.actor = event.actor;
    this.session = event.session;
    this.seq = event.seq;
    this.atS = event.atS ?? 0;
  }

  settled(outcome: number, counts: PostCounts): void {
    this.event.onCounts?.(outcome, counts);
    this.request.committed();
  }

  failed(error: ErrorBody): void {
    this.request.failed(this.index, error);
  }
}
