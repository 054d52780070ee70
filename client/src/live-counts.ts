import { io } from 'socket.io-client';
import type { ErrorBody } from '../../src/protocol/errors.js';
import type { OperationAnswer } from '../../src/protocol/messages.js';
import { randomId, storedActor } from './identity.js';
import { LiveCountsError, Outbox } from './outbox.js';
import { Subscriptions } from './subscriptions.js';
import type { Change } from './watched-post.js';
import { type GatewaySocket, operate, type OperationName, RETRY_MS } from './wire.js';

export { LiveCountsError };
export type { Change, Counts } from './watched-post.js';

export interface Options {
  /** Who acts, 1 to 128 characters. Without it and without a token: a random one, kept in localStorage if there is one. */
  readonly actor?: string;
  /** Says who acts where the gateway wants proof; a function is asked again at every connection. */
  readonly token?: string | (() => string);
}

/** `synced`: connected, and every subscribed post is current. Operations are taken in either state. */
export type State = 'synced' | 'syncing';

export interface Post {
  readonly id: string;
  /** `changed` hears the counts once they are known and at every change, `refused` that the gateway denies them. */
  subscribe(changed: (change: Change) => void, refused?: (error: LiveCountsError) => void): () => void;
  /** These resolve when the operation is counted for good, however many reconnects that takes. */
  like(): Promise<OperationAnswer>;
  unlike(): Promise<OperationAnswer>;
  view(): Promise<OperationAnswer>;
}

export interface LiveCounts {
  post(id: string): Post;
  /** Calls `listener` with the state as it is and at every change. */
  onState(listener: (state: State) => void): () => void;
  /** Ends the connection; what is not acknowledged is rejected with `CLOSED`. */
  close(): void;
}

const PENDING_MAX = 1_000;
const RECONNECT_MS = 500;
/** After a refusal that time alone does not mend; a token may have been renewed by then. */
const REFUSED_MS = 30_000;

export function createLiveCounts(url: string, options: Options = {}): LiveCounts {
  return new Client(url, options);
}

/**
 * One connection and what hangs on it. socket.io reconnects by itself after a lost transport, but not after the gateway
 * has refused or ended the connection, and knows nothing of the time the gateway asks for: those are ours.
 */
class Client implements LiveCounts {
  private readonly socket: GatewaySocket;
  private readonly outbox: Outbox;
  private readonly subscriptions: Subscriptions;
  private readonly listeners = new Set<(state: State) => void>();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private state: State = 'syncing';
  private byeMs: number | undefined;
  private closed = false;

  constructor(url: string, options: Options) {
    const socket: GatewaySocket = io(url, {
      auth: credentials(options),
      forceNew: true,
      transports: ['websocket', 'polling'],
      tryAllTransports: true,
      reconnectionDelay: RECONNECT_MS,
    });
    this.socket = socket;
    this.outbox = new Outbox(
      {
        get connected() {
          return socket.connected;
        },
        send: (name, payload) => operate(socket, name, payload),
      },
      PENDING_MAX,
    );
    this.subscriptions = new Subscriptions(
      socket,
      (post) => this.outbox.intended(post),
      () => this.update(),
      (ms, action) => this.later(ms, action),
    );
    this.listen();
  }

  post(id: string): Post {
    return {
      id,
      subscribe: (changed, refused) => this.subscriptions.add(id, { changed, refused }),
      like: () => this.perform('like', id),
      unlike: () => this.perform('unlike', id),
      view: () => this.perform('view', id),
    };
  }

  onState(listener: (state: State) => void): () => void {
    this.listeners.add(listener);
    listener(this.state);
    return () => this.listeners.delete(listener);
  }

  close(): void {
    this.closed = true;
    for (const timer of this.timers) clearTimeout(timer);
    this.outbox.fail(new LiveCountsError('CLOSED', 'this client was closed'));
    this.subscriptions.clear();
    this.listeners.clear();
    this.socket.disconnect();
  }

  private async perform(name: OperationName, post: string): Promise<OperationAnswer> {
    if (this.closed) throw new LiveCountsError('CLOSED', 'this client was closed; create another');
    const done = this.outbox.push(name, post);
    this.subscriptions.get(post)?.tell('local');
    try {
      const answer = await done;
      this.subscriptions.get(post)?.acknowledged(answer.counts, answer.on);
      return answer;
    } catch (error) {
      this.subscriptions.get(post)?.tell('local');
      throw error;
    }
  }

  private listen(): void {
    this.socket.on('connect', () => {
      this.byeMs = undefined;
      this.subscriptions.renew();
      void this.outbox.drain();
    });
    this.socket.on('bye', ({ retryAfterMs }) => (this.byeMs = retryAfterMs));
    this.socket.on('disconnect', () => {
      this.update();
      if (this.byeMs !== undefined || !this.socket.active) this.reconnect(this.byeMs ?? RETRY_MS);
    });
    this.socket.on('connect_error', (cause: Error & { data?: ErrorBody }) => {
      // Still active: the gateway was not reached, and socket.io goes on trying.
      if (this.socket.active) return;
      if (cause.data?.retryable === false) this.outbox.fail(LiveCountsError.from(cause.data));
      this.reconnect(cause.data?.retryAfterMs ?? (cause.data?.retryable ? RETRY_MS : REFUSED_MS));
    });
  }

  /** Up to half as long again, so that those sent away together don't come back together. */
  private reconnect(ms: number): void {
    if (this.closed) return;
    this.socket.disconnect();
    this.later(ms * (1 + Math.random() / 2), () => this.socket.connect());
  }

  private later(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      action();
    }, ms);
    this.timers.add(timer);
  }

  private update(): void {
    const state = this.socket.connected && this.subscriptions.current ? 'synced' : 'syncing';
    if (state === this.state) return;
    this.state = state;
    for (const listener of this.listeners) listener(state);
  }
}

function credentials({ actor, token }: Options): (use: (auth: object) => void) => void {
  const session = randomId();
  const who = actor ?? (token === undefined ? storedActor() : undefined);
  return (use) => use({ session, actor: who, token: typeof token === 'function' ? token() : token });
}
