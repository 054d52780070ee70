import { type Environment, systemEnvironment } from './environment.js';
import { LiveCountsError } from './errors.js';
import { randomId, storedActor } from './identity.js';
import { ReconnectingConnection } from './link.js';
import type { Change } from './post-counts.js';
import { Session } from './session.js';
import { rethrowLater, Subscriptions } from './subscriptions.js';
import type { TransportConnection, Credentials, Transport } from './transport.js';

/** As docs/protocol.md has it. */
const POST_ID = /^(?!\.\.?$)[A-Za-z0-9_.:-]{1,64}$/;
/** Longer than the longest tick, 2 s: by then a stream has brought the counts that hold what was acknowledged over HTTP. */
const SETTLED_MS = 3_000;

export interface Options {
  /** Who acts, 1 to 128 characters. Without it and without a token: a random one, kept in localStorage if there is one. */
  readonly actor?: string;
  /**
   * Says who acts where the gateway wants proof. A function is asked at every connection, also the one after a token has
   * expired, with `true` if the gateway has refused what it gave last: then a new one is needed.
   */
  readonly token?: string | ((refused: boolean) => string | undefined | Promise<string | undefined>);
  /** What to use instead of the browser's own; a `WebSocket` for Node.js before 22, for example. */
  readonly environment?: Partial<Environment>;
}

export interface Post {
  readonly id: string;
  /**
   * `changed` is called once the counts are known, right away if they are, and at every change; `reject` if the gateway
   * denies them. Gives back the way to stop.
   */
  subscribe(changed: (change: Change) => void, refused?: (error: LiveCountsError) => void): () => void;
  /**
   * These show at once. They resolve when the operation is counted for good, however many reconnects that takes, and
   * reject with a LiveCountsError, when it was not counted and shows no more.
   */
  like(): Promise<void>;
  unlike(): Promise<void>;
  view(): Promise<void>;
  /** Adds to a tally, 1 to 1000. Over HTTP this takes `by` requests. */
  add(metric: string, by?: number): Promise<void>;
  /** Turns a toggle on or off; `like` and `unlike` are those of `likes`. */
  set(metric: string, on: boolean): Promise<void>;
}

export interface LiveCountsEvents {
  /** Not connected, or not every subscribed post is current. Operations are taken all the same, and sent later. */
  syncing: () => void;
  /** Connected, and every subscribed post is current. */
  synced: () => void;
  /** The connection was refused, or there was no token for it. The client goes on trying. */
  error: (error: LiveCountsError) => void;
}

export interface LiveCounts {
  readonly state: 'syncing' | 'synced';
  /** How many posts have a subscriber now. */
  readonly watched: number;
  /** How many operations are shown but not acknowledged yet. */
  readonly waiting: number;
  /** @throws LiveCountsError BAD_REQUEST for what is no id: 1 to 64 characters of `A-Z a-z 0-9 _ . : -`. */
  post(id: string): Post;
  /** Gives back the way to stop listening. */
  on<Name extends keyof LiveCountsEvents>(name: Name, listener: LiveCountsEvents[Name]): () => void;
  /** Ends the connection; what is not acknowledged is rejected with `CLOSED`. */
  close(): void;
}

/** One connection and what hangs on it. It connects when a post is subscribed or acted on, so creating it is free. */
export class Client implements LiveCounts {
  state: 'syncing' | 'synced' = 'syncing';
  readonly #environment: Environment;
  readonly #sessionId = randomId();
  readonly #session: Session;
  readonly #subscriptions: Subscriptions;
  readonly #link: ReconnectingConnection;
  readonly #listeners = new Map<keyof LiveCountsEvents, Set<(error: LiveCountsError) => void>>();
  /** What was acknowledged over HTTP and is in the counts that come next, if not in those that came. */
  readonly #dropCalls: (() => void)[] = [];
  #actor: string | undefined;
  #closed = false;

  constructor(
    url: string,
    private readonly options: Options,
    transports: (origin: string, environment: Environment) => readonly Transport[],
  ) {
    const environment = { ...systemEnvironment(), ...options.environment };
    this.#environment = environment;
    this.#session = this.#makeSession();
    this.#subscriptions = new Subscriptions(
      environment.clock,
      () => this.#progressed(),
      () => this.#link.markProven(),
    );
    this.#link = this.#makeLink(transports(originOf(url), environment));
  }

  get watched(): number {
    return this.#subscriptions.size;
  }

  get waiting(): number {
    return this.#session.size;
  }

  post(id: string): Post {
    if (!POST_ID.test(id)) {
      throw new LiveCountsError(
        'BAD_REQUEST',
        `"${id}" is no post: 1 to 64 characters of A-Z a-z 0-9 _ . : -, not . or ..`,
      );
    }
    return {
      id,
      subscribe: (changed, refused) => {
        if (this.#closed) throw closed();
        this.#link.start();
        return this.#subscriptions.add(id, { changed, refused });
      },
      like: () => this.#perform(id, 'likes', true),
      unlike: () => this.#perform(id, 'likes', false),
      view: () => this.#perform(id, 'views', 1),
      add: (metric, by = 1) => this.#perform(id, metric, by),
      set: (metric, on) => this.#perform(id, metric, on),
    };
  }

  on<Name extends keyof LiveCountsEvents>(name: Name, listener: LiveCountsEvents[Name]): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.state = 'syncing';
    this.#link.close();
    this.#session.detach();
    this.#session.rejectAll(closed());
    this.#subscriptions.clear();
    this.#listeners.clear();
  }

  async #perform(post: string, metric: string, value: boolean | number): Promise<void> {
    if (this.#closed) throw closed();
    const { operation, done } = this.#session.push(post, metric, value);
    this.#subscriptions.act(post, (counts) => counts.addPending(operation));
    this.#link.start();
    this.#session.sendNext();
    await done;
  }

  #makeSession(): Session {
    const { clock } = this.#environment;
    return new Session(clock, {
      sent: ({ post, seq }) => this.#subscriptions.act(post, (counts) => counts.sent(seq)),
      acknowledged: ({ post, seq }, answer) => {
        this.#link.markProven();
        this.#subscriptions.act(post, (counts) => counts.acknowledge(seq, answer));
        if (answer.counts) return;
        clock.after(SETTLED_MS, () => {
          this.#dropCalls.push(() => this.#subscriptions.act(post, (counts) => counts.dropAcknowledged(seq)));
          this.#dropAcknowledged();
        });
      },
      refused: ({ post, seq }) => this.#subscriptions.act(post, (counts) => counts.reject(seq)),
    });
  }

  #makeLink(transports: readonly Transport[]): ReconnectingConnection {
    const session = this.#session;
    const subscriptions = this.#subscriptions;
    return new ReconnectingConnection(transports, this.#environment, (refused) => this.#credentials(refused), session, {
      opened: (connection, kind) => this.#opened(connection, kind),
      lost: () => {
        session.detach();
        subscriptions.detach();
        this.#progressed();
      },
      counts: (updates) => subscriptions.applyFrame(updates),
      mine: (event) => subscriptions.applyToggle(event),
      failed: (error) => this.#emit('error', error),
      refused: (error) => session.rejectAll(error),
    });
  }

  #opened(connection: TransportConnection, kind: Transport['kind']): void {
    this.#subscriptions.attach(connection);
    this.#session.attach(connection, kind);
    this.#progressed();
  }

  async #credentials(refused: boolean): Promise<Credentials> {
    const { token, actor } = this.options;
    const given = typeof token === 'function' ? await token(refused) : token;
    const session = this.#sessionId;
    if (given !== undefined || actor !== undefined) return { token: given, actor, session };
    // The same at every connection, also where nothing can be stored.
    this.#actor ??= storedActor(this.#environment.storage);
    return { token: given, actor: this.#actor, session };
  }

  #progressed(): void {
    const state = this.#subscriptions.isCurrent ? 'synced' : 'syncing';
    if (state === this.state || this.#closed) return;
    this.state = state;
    this.#dropAcknowledged();
    this.#emit(state);
  }

  #dropAcknowledged(): void {
    if (this.state === 'synced' && !this.#closed) for (const forget of this.#dropCalls.splice(0)) forget();
  }

  #emit(name: keyof LiveCountsEvents, error?: LiveCountsError): void {
    for (const listener of this.#listeners.get(name) ?? []) rethrowLater(() => listener(error!));
  }
}

function closed(): LiveCountsError {
  return new LiveCountsError('CLOSED', 'this client was closed; create another');
}

/** Of a page's own gateway also a path will do. */
function originOf(url: string): string {
  return new URL(url, typeof location === 'undefined' ? undefined : location.href).origin;
}
