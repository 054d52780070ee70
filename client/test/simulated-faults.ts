import type { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import type { PostedEvent } from '../src/posted-events.js';
import type { ClientOperation, Credentials, Transport, TransportConnection } from '../src/transport.js';

/** The part of the simulated network that faults use. */
interface Network {
  readonly clock: SimulatedClock;
  transport(kind: Transport['kind'], client: number): Transport;
}

/** A fault that a client could have, planted between it and the network. */
export interface Fault {
  /** Sends an operation over a socket. */
  readonly operate?: (
    operation: ClientOperation,
    connection: TransportConnection,
    credentials: Credentials,
    network: Network,
  ) => ReturnType<TransportConnection['operate']>;
  /** Changes what a page has left when the next visit sends it. */
  readonly resend?: (left: PostedList) => PostedList;
}

export interface PostedList {
  readonly actor: string;
  readonly session: string;
  readonly events: readonly PostedEvent[];
}

/** Longer than a round trip, and a frame. */
const HELD_MS = 250;

/** A toggle goes out behind the additions after it, with its own seq. */
export const SENT_LATE: Fault = {
  async operate(operation, connection, _, { clock }) {
    if (operation.value === true) await new Promise<void>((resolve) => void clock.after(HELD_MS, resolve));
    return await connection.operate(operation);
  },
};

/** An addition gets the place of a toggle that was made before it on the same post. */
export const SEQ_SWAPPED: Fault = {
  operate: (() => {
    const seqs = new WeakMap<ClientOperation, number>();
    let held: { readonly operation: ClientOperation; send(): void } | undefined;
    const numbered = (operation: ClientOperation): ClientOperation => ({
      ...operation,
      seq: seqs.get(operation) ?? operation.seq,
    });
    return (operation, connection, _, { clock }) => {
      if (held && operation.post === held.operation.post && !seqs.has(operation)) {
        seqs.set(operation, held.operation.seq).set(held.operation, operation.seq);
        const answer = connection.operate(numbered(operation));
        held.send();
        return answer;
      }
      held?.send();
      if (operation.value !== true || seqs.has(operation)) return connection.operate(numbered(operation));
      return new Promise((resolve, reject) => {
        const send = (): void => {
          if (held?.operation !== operation) return;
          held = undefined;
          connection.operate(numbered(operation)).then(resolve, reject);
        };
        held = { operation, send };
        clock.after(HELD_MS, send);
      });
    };
  })(),
};

/** An operation is sent over the socket as a seq of its session, and over HTTP with a key. */
export const SENT_BOTH_WAYS: Fault = {
  operate(operation, connection, credentials, network) {
    network.transport('events', 0).operate!(credentials, operation).catch(() => undefined);
    return connection.operate(operation);
  },
};

/** The next visit sends stored operations as new ones. */
export const RESENT_AS_NEW: Fault = {
  resend: ({ actor, session, events }) => ({
    actor,
    session: `${session}-again`,
    events: events.map((event) => (event.key ? { ...event, key: `again-${event.key}` } : event)),
  }),
};

/** The transport of a client that has the fault. */
export function withFault(transport: Transport, { operate }: Fault, network: Network): Transport {
  if (!operate || transport.kind !== 'socket') return transport;
  return {
    ...transport,
    connect(credentials, listener) {
      const connection = transport.connect(credentials, listener);
      return {
        subscribe: (...request) => connection.subscribe(...request),
        unsubscribe: (posts) => connection.unsubscribe(posts),
        operate: (operation) => operate(operation, connection, credentials, network),
        close: () => connection.close(),
      };
    },
  };
}
