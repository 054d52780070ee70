import type { Socket } from 'socket.io-client';
import type {
  ByeEvent,
  Failure,
  MineEvent,
  OperationAnswer,
  SubscribeAnswer,
  Update,
} from '../../src/protocol/messages.js';

export type OperationName = 'like' | 'unlike' | 'view';

export interface Operation {
  readonly post: string;
  readonly seq: number;
}

export interface Subscription {
  readonly posts: readonly string[];
  readonly known: Readonly<Record<string, readonly [e: string, v: number]>>;
}

type Answered<Payload, Answer> = (payload: Payload, answer: (answer: Answer | Failure) => void) => void;

interface ToGateway extends Record<OperationName, Answered<Operation, OperationAnswer>> {
  subscribe: Answered<Subscription, SubscribeAnswer>;
  unsubscribe: (payload: { posts: string[] }) => void;
}

interface FromGateway {
  counts: (updates: readonly Update[]) => void;
  mine: (event: MineEvent) => void;
  bye: (event: ByeEvent) => void;
}

export type GatewaySocket = Socket<FromGateway, ToGateway>;

/** Longer than the gateway's own deadlines: silence this long means that the answer is lost. */
const ANSWER_MS = 10_000;

/** Where a retryable refusal names no time of its own. */
export const RETRY_MS = 1_000;

// Both reject when the connection is lost or no answer comes in time. Behind `timeout` socket.io's types forget the
// answer, hence the assertions.

export function operate(socket: GatewaySocket, name: OperationName, operation: Operation) {
  return socket.timeout(ANSWER_MS).emitWithAck(name, operation) as Promise<OperationAnswer | Failure>;
}

export function subscribe(socket: GatewaySocket, subscription: Subscription) {
  return socket.timeout(ANSWER_MS).emitWithAck('subscribe', subscription) as Promise<SubscribeAnswer | Failure>;
}
