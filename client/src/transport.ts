import type { ErrorBody } from '../../src/protocol/errors.js';
import type {
  Failure,
  MetricRules,
  MilestoneEvent,
  MineEvent,
  SubscribeResponse,
  Update,
} from '../../src/protocol/messages.js';
import type { MilestoneList } from './milestones.js';

/** See "Connection" in docs/protocol.md. */
export interface Credentials {
  readonly token: string | undefined;
  readonly actor: string | undefined;
  readonly session: string;
  /** Left out unless a program drives the browser. */
  readonly automated: true | undefined;
}

export interface ClientOperation {
  /** Its place among the operations of the page, in the order in which they were made. */
  readonly id: number;
  /** Sequence number within the session, from the first time that it is sent; Infinity before. */
  seq: number;
  readonly post: string;
  readonly metric: string;
  /** The new state of a toggle, or the number to add to a tally. */
  readonly value: boolean | number;
}

export type KnownVersion = readonly [e: string, v: number];

/** Without an actor `mine` is left out, and on event streams of older gateways. */
export type Snapshot = Update & { readonly mine?: readonly string[] };

export interface SubscribeResult extends MetricRules {
  readonly ok: true;
  readonly counts: readonly Snapshot[];
  readonly rejected?: SubscribeResponse['rejected'];
}

/** Only a socket's acknowledgement has `counts`: HTTP sends not all counts, but the version of those that include the operation. */
export interface Acknowledgement {
  readonly ok: true;
  readonly on?: boolean | undefined;
  /** Whether the operation reached a milestone. */
  readonly reached?: boolean;
  readonly counts?: Update;
  readonly at?: KnownVersion;
}

/** Why a connection ended. With `error` the gateway rejected it; with neither field it was lost. */
export interface CloseReason {
  readonly error?: ErrorBody;
  /** After a `bye`: how long the client should wait before it reconnects. */
  readonly retryAfterMs?: number;
}

/** Posts that are subscribed together, and whether the connection counts as a viewer of them. */
export type Subscription = readonly [posts: readonly string[], present: boolean];

/** Name and payload of an event of the gateway. The last one stands for names that this version does not know. */
export type GatewayEvent =
  | readonly ['counts', readonly Update[]]
  | readonly ['mine', MineEvent]
  | readonly ['milestone', MilestoneEvent]
  | readonly ['further', unknown];

export interface ConnectionListener {
  /** The first subscription over this connection: a stream can begin with it. Undefined without a post. */
  first(): Subscription | undefined;
  /** The connection accepts requests from now on. */
  opened(): void;
  received(event: GatewayEvent): void;
  /** The gateway accepts no stream of this address at present. The connection tries again by itself. */
  limited(error: ErrorBody): void;
  /** Called once, as the last call; not after `close()`. */
  closed(ending: CloseReason): void;
}

/** One connection. Promises reject if it ends before the answer arrives; then the outcome is unknown. */
export interface TransportConnection {
  /**
   * The answer may leave out posts whose version in `known` is current. A further call for a post may change `present`.
   * @param present whether this connection counts as a viewer of the posts; a stream does, for all of its posts, if it does for one
   */
  subscribe(
    posts: readonly string[],
    known: ReadonlyMap<string, KnownVersion>,
    present: boolean,
  ): Promise<SubscribeResult | Failure>;
  unsubscribe(posts: readonly string[]): void;
  /** Takes effect once, even if it is sent again over connections of this kind with the same session and seq. */
  operate(operation: ClientOperation): Promise<Acknowledgement | Failure>;
  /** Ends the connection without calling the listener. */
  close(): void;
}

/** Connections of different kinds do not recognise each other's retries. */
export interface Transport {
  readonly kind: 'socket' | 'events';
  connect(credentials: Credentials, listener: ConnectionListener): TransportConnection;
  /** Sends an operation without a connection, as a connection of this kind sends it. Rejects if the outcome is unknown. */
  operate?(credentials: Credentials, operation: ClientOperation): Promise<Acknowledgement | Failure>;
  /** Reads the milestones of a metric, with those of this actor marked. Rejects with a LiveCountsError. */
  milestones?(credentials: Credentials, post: string, metric: string): Promise<MilestoneList>;
}

/** Longer than the gateway's own deadlines: after this time the acknowledgement is lost. */
export const ACK_TIMEOUT_MS = 10_000;
