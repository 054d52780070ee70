import { randomUUID } from 'node:crypto';
import { io, type ManagerOptions, type Socket, type SocketOptions } from 'socket.io-client';
import type {
  ByeEvent,
  Failure,
  MineEvent,
  OperationResponse,
  SubscribeResponse,
  Update,
} from '../../src/protocol/messages.js';

/** Where UNAVAILABLE names no time. */
const RETRY_MS = 100;

type Answered<T> = (answer: T | Failure) => void;

interface ServerEvents {
  counts(updates: readonly Update[]): void;
  mine(event: MineEvent): void;
  bye(event: ByeEvent): void;
}

interface ClientEvents {
  subscribe(payload: { readonly posts: readonly string[] }, answered: Answered<SubscribeResponse>): void;
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

/** What a client can ask of the standard metrics. */
export type Action =
  | { readonly event: 'like' | 'unlike' | 'view'; readonly post: string }
  | { readonly event: 'add'; readonly post: string; readonly metric: 'views'; readonly by: number };

export interface Auth {
  readonly token?: string;
  readonly actor?: string;
  readonly session?: string;
}

const open = new Set<Client>();

/** A stock client on a connection of its own, over WebSocket unless `options` say otherwise. */
export function connect(url: string, auth: Auth = {}, options: Partial<ManagerOptions & SocketOptions> = {}): Client {
  const socket: Client = io(url, { transports: ['websocket'], forceNew: true, auth, ...options });
  open.add(socket);
  return socket;
}

/**
 * Closes every client that was opened in this test file. For `afterAll`, before the gateways end: one that is on
 * long-polling takes its leave with a request of its own.
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

/** Asks for no acknowledgement. */
export function emitWithoutAck(socket: Client, event: 'like' | 'unlike', payload: OperationPayload): void {
  (socket as unknown as Socket).emit(event, payload);
}

/** Resolves when it is connected. */
export function untilConnected(socket: Client): Promise<void> {
  if (socket.connected) return Promise.resolve();
  return new Promise((resolve) => socket.once('connect', () => resolve()));
}

/** Resolves when the connection is gone. */
export function untilClosed(socket: Client): Promise<void> {
  if (!socket.connected) return Promise.resolve();
  return new Promise((resolve) => socket.once('disconnect', () => resolve()));
}

/** @throws what the gateway said, when it refused. */
export function expectOk<T extends { readonly ok: true }>(answer: T | Failure): T {
  if (!answer.ok) throw new Error(`${answer.error.code}: ${answer.error.message}`);
  return answer;
}

export interface Totals {
  readonly likes: number;
  readonly views: number;
}

/** The posts' counts as a newcomer is shown them. */
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

/** What one actor did: how its likes stand, and how many views it added. */
export class Ledger {
  readonly likes = new Map<string, boolean>();
  readonly views = new Map<string, number>();

  record(act: Action): void {
    const { event, post } = act;
    if (event === 'like' || event === 'unlike') this.likes.set(post, event === 'like');
    else this.views.set(post, (this.views.get(post) ?? 0) + (event === 'add' ? act.by : 1));
  }
}

/** What the ledgers of different actors come to together. */
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
  /** The last sending that it was part of; 0: not sent yet. */
  sending: number;
}

/**
 * A client that keeps the protocol's promise of its own side: it numbers its operations, keeps what is not
 * acknowledged, and sends that again in order when it comes back or was told to wait. Nothing overtakes.
 */
export class LedgerClient {
  readonly sent = new Ledger();
  readonly acknowledged = new Ledger();
  readonly socket: Client;
  readonly byes: ByeEvent[] = [];
  /** Called after each acknowledgement. */
  onAcknowledged: (() => void) | null = null;
  duplicates = 0;
  rejections = 0;
  readonly #unacknowledged = new Map<number, NumberedOperation>();
  #seq = 0;
  #sending = 1;
  #holding: NodeJS.Timeout | null = null;
  #failure: Error | null = null;
  #settled: { resolve: () => void; reject: (reason: Error) => void }[] = [];

  constructor(
    url: string,
    readonly actor: string,
    options: Partial<ManagerOptions & SocketOptions> = {},
  ) {
    this.socket = connect(url, { actor, session: randomUUID() }, options);
    this.socket.on('connect', () => this.#resend());
    this.socket.on('bye', (bye) => this.byes.push(bye));
    // What the stock client kept back it would send before `connect`, ahead of what is older and sent again.
    this.socket.on('disconnect', () => (this.socket.sendBuffer = []));
  }

  get unacknowledged(): number {
    return this.#unacknowledged.size;
  }

  act(act: Action): void {
    const operation: NumberedOperation = { act, seq: (this.#seq += 1), sending: 0 };
    this.sent.record(act);
    this.#unacknowledged.set(operation.seq, operation);
    if (this.socket.connected && this.#holding === null) this.#send(operation);
  }

  /** Resolves when all that was asked is acknowledged; rejects when something was refused for good. */
  untilAcknowledged(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.unacknowledged === 0) return Promise.resolve();
    return new Promise((resolve, reject) => this.#settled.push({ resolve, reject }));
  }

  #resend(): void {
    if (this.#holding !== null) clearTimeout(this.#holding);
    this.#holding = null;
    this.#sending += 1;
    if (this.socket.connected) for (const operation of this.#unacknowledged.values()) this.#send(operation);
  }

  #send(operation: NumberedOperation): void {
    const { act, seq } = operation;
    const sending = (operation.sending = this.#sending);
    const answered: Answered<OperationResponse> = (answer) => {
      if (answer.ok) this.#done(operation, answer);
      else if (sending === operation.sending) this.#refused(answer);
    };
    if (act.event === 'add') {
      this.socket.emit(act.event, { post: act.post, metric: act.metric, by: act.by, seq }, answered);
    } else this.socket.emit(act.event, { post: act.post, seq }, answered);
  }

  #done({ act, seq }: NumberedOperation, { duplicate }: OperationResponse): void {
    if (!this.#unacknowledged.delete(seq)) return;
    this.acknowledged.record(act);
    if (duplicate) this.duplicates += 1;
    this.onAcknowledged?.();
    if (this.unacknowledged === 0) for (const { resolve } of this.#settled.splice(0)) resolve();
  }

  #refused({ error }: Failure): void {
    this.rejections += 1;
    if (error.retryable) {
      this.#holding ??= setTimeout(() => this.#resend(), error.retryAfterMs ?? RETRY_MS);
      return;
    }
    this.#failure = new Error(`${error.code}: ${error.message}`);
    for (const { reject } of this.#settled.splice(0)) reject(this.#failure);
  }
}
