import { randomUUID } from 'node:crypto';
import { io, type ManagerOptions, type Socket, type SocketOptions } from 'socket.io-client';
import type {
  ByeEvent,
  Failure,
  MilestoneEvent,
  MineEvent,
  OperationResponse,
  SubscribeResponse,
  Update,
} from '../../src/protocol/messages.js';

/** The wait after an error without `retryAfterMs`. */
const RETRY_MS = 100;

type Answered<T> = (answer: T | Failure) => void;

interface ServerEvents {
  counts(updates: readonly Update[]): void;
  mine(event: MineEvent): void;
  milestone(event: MilestoneEvent): void;
  bye(event: ByeEvent): void;
}

interface ClientEvents {
  subscribe(
    payload: { readonly posts: readonly string[]; readonly present?: boolean },
    answered: Answered<SubscribeResponse>,
  ): void;
  unsubscribe(payload: { readonly posts: readonly string[] }, answered: Answered<{ readonly ok: true }>): void;
  like(payload: OperationPayload, answered: Answered<OperationResponse>): void;
  unlike(payload: OperationPayload, answered: Answered<OperationResponse>): void;
  view(payload: OperationPayload, answered: Answered<OperationResponse>): void;
  add(payload: OperationPayload & { metric: string; by?: number }, answered: Answered<OperationResponse>): void;
  set(payload: OperationPayload & { metric: string; on: boolean }, answered: Answered<OperationResponse>): void;
}

interface OperationPayload {
  readonly post: string;
  readonly seq?: number;
}

/** A stock socket.io client, typed with the protocol. */
export type Client = Socket<ServerEvents, ClientEvents>;

/** An operation on the default metrics. */
export type Action =
  | { readonly event: 'like' | 'unlike' | 'view'; readonly post: string }
  | { readonly event: 'add'; readonly post: string; readonly metric: 'views'; readonly by: number };

export interface Auth {
  readonly token?: string;
  readonly actor?: string;
  readonly session?: string;
  readonly automated?: boolean;
}

const open = new Set<Client>();

/** A stock client on its own connection, over WebSocket unless `options` differ. */
export function connect(url: string, auth: Auth = {}, options: Partial<ManagerOptions & SocketOptions> = {}): Client {
  const socket: Client = io(url, { transports: ['websocket'], forceNew: true, auth, ...options });
  open.add(socket);
  return socket;
}

/**
 * Closes every client that was opened in this test file. Call it in `afterAll` before the gateways end, because a client
 * on long-polling closes its session by a request.
 */
export async function closeClients(): Promise<void> {
  const closing = [...open].map(async (socket) => {
    const { engine } = socket.io;
    const closed = new Promise<void>((resolve) => engine.once('close', () => resolve()));
    socket.close();
    if (engine.readyState !== 'closed') await closed;
  });
  open.clear();
  await Promise.all(closing);
}

/** Emits without requesting an acknowledgement. */
export function emitWithoutAck(socket: Client, event: 'like' | 'unlike', payload: OperationPayload): void {
  (socket as unknown as Socket).emit(event, payload);
}

/** Resolves when the client is connected. */
export function untilConnected(socket: Client): Promise<void> {
  if (socket.connected) return Promise.resolve();
  return new Promise((resolve) => socket.once('connect', () => resolve()));
}

/** Resolves when the client is disconnected. */
export function untilClosed(socket: Client): Promise<void> {
  if (!socket.connected) return Promise.resolve();
  return new Promise((resolve) => socket.once('disconnect', () => resolve()));
}

/** @throws Error with the gateway's code and message if the answer is an error */
export function expectOk<T extends { readonly ok: true }>(answer: T | Failure): T {
  if (!answer.ok) throw new Error(`${answer.error.code}: ${answer.error.message}`);
  return answer;
}

export interface Totals {
  readonly likes: number;
  readonly views: number;
}

/** Reads the posts' counts with a new client. */
export async function readTotals(url: string, posts: readonly string[]): Promise<Record<string, Totals>> {
  const socket = connect(url);
  const { counts } = expectOk(await socket.emitWithAck('subscribe', { posts }));
  socket.close();
  open.delete(socket);
  return Object.fromEntries(counts.map((update) => [update.post, parseTotals(update)]));
}

export function parseTotals({ likes, views }: Update): Totals {
  return { likes: Number(likes), views: Number(views) };
}

/** The operations of one actor: the state of its likes, and the number of its views. */
export class Ledger {
  readonly likes = new Map<string, boolean>();
  readonly views = new Map<string, number>();

  record(act: Action): void {
    const { event, post } = act;
    if (event === 'like' || event === 'unlike') this.likes.set(post, event === 'like');
    else this.views.set(post, (this.views.get(post) ?? 0) + (event === 'add' ? act.by : 1));
  }
}

/** Sums the ledgers of different actors. */
export function sumLedgers(ledgers: readonly Ledger[], posts: readonly string[]): Record<string, Totals> {
  const sum = (count: (ledger: Ledger) => number): number => ledgers.reduce((total, one) => total + count(one), 0);
  return Object.fromEntries(
    posts.map((post) => [
      post,
      { likes: sum(({ likes }) => (likes.get(post) ? 1 : 0)), views: sum(({ views }) => views.get(post) ?? 0) },
    ]),
  );
}

interface NumberedOperation {
  readonly act: Action;
  readonly seq: number;
  /** Number of the last round of sending that included it; 0: not sent yet. */
  sending: number;
}

/**
 * A client that follows the protocol: it numbers its operations, keeps the unacknowledged ones, and resends them in order
 * after a reconnect or a retryable error. No operation overtakes another.
 */
export class LedgerClient {
  readonly sent = new Ledger();
  readonly acknowledged = new Ledger();
  readonly socket: Client;
  readonly byes: ByeEvent[] = [];
  /** Called after each acknowledgement. */
  onAcknowledged: ((response: OperationResponse, act: Action) => void) | null = null;
  duplicates = 0;
  rejections = 0;
  readonly #unacknowledged = new Map<number, NumberedOperation>();
  #seq = 0;
  #sending = 1;
  #retryTimer: NodeJS.Timeout | null = null;
  #failure: Error | null = null;
  #waiting: { resolve: () => void; reject: (reason: Error) => void }[] = [];

  constructor(
    url: string,
    readonly actor: string,
    options: Partial<ManagerOptions & SocketOptions> = {},
  ) {
    this.socket = connect(url, { actor, session: randomUUID() }, options);
    this.socket.on('connect', () => this.#resend());
    this.socket.on('bye', (bye) => this.byes.push(bye));
    // The stock client would send its buffer before `connect`, ahead of older operations that are resent.
    this.socket.on('disconnect', () => (this.socket.sendBuffer = []));
  }

  get unacknowledged(): number {
    return this.#unacknowledged.size;
  }

  act(act: Action): void {
    const operation: NumberedOperation = { act, seq: (this.#seq += 1), sending: 0 };
    this.sent.record(act);
    this.#unacknowledged.set(operation.seq, operation);
    if (this.socket.connected && this.#retryTimer === null) this.#send(operation);
  }

  /** The seq of its last operation; 0: it has none. */
  get seq(): number {
    return this.#seq;
  }

  /** Leaves its gateway for another one, and sends there what is not acknowledged. */
  moveTo(url: string): void {
    this.socket.disconnect();
    // The manager connects to this URI next. It is private only in the types.
    (this.socket.io as unknown as { uri: string }).uri = url;
    this.socket.connect();
  }

  /** Resolves when all operations are acknowledged; rejects if one got a final error. */
  untilAcknowledged(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.unacknowledged === 0) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #resend(): void {
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.#sending += 1;
    if (this.socket.connected) for (const operation of this.#unacknowledged.values()) this.#send(operation);
  }

  #send(operation: NumberedOperation): void {
    const { act, seq } = operation;
    const sending = (operation.sending = this.#sending);
    const answered: Answered<OperationResponse> = (answer) => {
      if (answer.ok) this.#acknowledge(operation, answer);
      else if (sending === operation.sending) this.#handleError(answer);
    };
    if (act.event === 'add') {
      this.socket.emit(act.event, { post: act.post, metric: act.metric, by: act.by, seq }, answered);
    } else this.socket.emit(act.event, { post: act.post, seq }, answered);
  }

  #acknowledge({ act, seq }: NumberedOperation, response: OperationResponse): void {
    if (!this.#unacknowledged.delete(seq)) return;
    this.acknowledged.record(act);
    if (response.duplicate) this.duplicates += 1;
    this.onAcknowledged?.(response, act);
    if (this.unacknowledged === 0) for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  #handleError({ error }: Failure): void {
    this.rejections += 1;
    if (error.retryable) {
      this.#retryTimer ??= setTimeout(() => this.#resend(), error.retryAfterMs ?? RETRY_MS);
      return;
    }
    this.#failure = new Error(`${error.code}: ${error.message}`);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}
