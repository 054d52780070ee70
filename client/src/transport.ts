import type { ErrorBody } from '../../src/protocol/errors.js';
import type { Failure, MineEvent, SubscribeResponse, Update } from '../../src/protocol/messages.js';

/** The client that connects; see "Connection" in docs/protocol.md. */
export interface Credentials {
  readonly token: string | undefined;
  readonly actor: string | undefined;
  readonly session: string;
}

export interface ClientOperation {
  /** Its number within the session. */
  readonly seq: number;
  readonly post: string;
  readonly metric: string;
  /** The state that a toggle is set to, or the number that is added to a tally. */
  readonly value: boolean | number;
}

export type KnownVersion = readonly [e: string, v: number];

/** Event streams know nothing of the actor: there `mine` is left out. */
export type Snapshot = Update & { readonly mine?: readonly string[] };

export interface SubscribeResult {
  readonly ok: true;
  readonly counts: readonly Snapshot[];
  readonly rejected?: SubscribeResponse['rejected'];
}

/** HTTP tells neither version nor all counts, so `counts` and `on` are a socket's only. */
export interface Acknowledgement {
  readonly ok: true;
  readonly on?: boolean;
  readonly counts?: Update;
}

/** Why a connection ended. `error`: it was refused. Both left out: it was lost. */
export interface CloseReason {
  readonly error?: ErrorBody;
  /** After a `bye`: how long the gateway wants the client to stay away. */
  readonly retryAfterMs?: number;
}

export interface ConnectionListener {
  /** From now on the connection can be asked. */
  opened(): void;
  counts(updates: readonly Update[]): void;
  mine(event: MineEvent): void;
  /** Called once and last, save after `close()`. */
  closed(ending: CloseReason): void;
}

/** One connection. Promises reject when it ends before the answer came; then the outcome is unknown. */
export interface TransportConnection {
  /** Those that `known` shows to be current may be left out of the answer. */
  subscribe(posts: readonly string[], known: ReadonlyMap<string, KnownVersion>): Promise<SubscribeResult | Failure>;
  unsubscribe(posts: readonly string[]): void;
  /** Takes effect once, however often it is sent over connections of this kind with the same session and seq. */
  operate(operation: ClientOperation): Promise<Acknowledgement | Failure>;
  /** Ends it without a word to the listener. */
  close(): void;
}

/** A way to the gateway. Connections of different kinds do not recognise each other's retries. */
export interface Transport {
  readonly kind: 'socket' | 'events';
  connect(credentials: Credentials, listener: ConnectionListener): TransportConnection;
}

/** Longer than the gateway's own deadlines: silence this long means that the answer is lost. */
export const ACK_TIMEOUT_MS = 10_000;
