import type { LiveCounts, Post } from './api.js';
import { type Environment, systemEnvironment, type Timer } from './environment.js';
import { LiveCountsError } from './errors.js';
import { parseGateway } from './gateway-url.js';
import { BrowserActor, randomId } from './identity.js';
import { LeavingPage } from './leaving-page.js';
import { MetricRules } from './metric-rules.js';
import { checkPostId } from './post-id.js';
import { joinMilestones, type MilestoneList } from './milestones.js';
import type { LiveCountsEvents, Options } from './options.js';
import { ReconnectingConnection } from './reconnecting-connection.js';
import { Session, type SessionListener } from './session.js';
import { rethrowLater, Subscriptions } from './subscriptions.js';
import type { TransportConnection, Credentials, Transport } from './transport.js';
import { expectAnswer, warnOnce, watchPage } from './warn.js';

/** Longer than the longest tick, 2 s: by then a stream has delivered counts with the operation acknowledged over HTTP. */
const FRAMES_ARRIVED_MS = 3_000;

/** Connects when a post is subscribed or an operation is made, so creating a client costs nothing. */
export class Client implements LiveCounts {
  state: 'syncing' | 'synced' = 'syncing';
  readonly gateway: string;
  readonly #identity: Pick<Options, 'token' | 'actor'>;
  readonly #environment: Environment;
  readonly #browserActor: BrowserActor;
  readonly #sessionId = randomId();
  readonly #rules = new MetricRules();
  readonly #http: Transport;
  readonly #session: Session;
  readonly #subscriptions: Subscriptions;
  readonly #connection: ReconnectingConnection;
  readonly #milestones: ReturnType<typeof joinMilestones>;
  readonly #leavingPage: LeavingPage;
  readonly #listeners = new Map<keyof LiveCountsEvents, Set<(payload: never) => void>>();
  /** Drop operations that were acknowledged over HTTP. Run when synced: by then received counts include them. */
  readonly #dropCalls: (() => void)[] = [];
  /** The last ones; undefined before the first connection. */
  #credentials: Credentials | undefined;
  /** Runs from the first attempt to connect until the gateway has answered. */
  #unanswered: Timer | undefined;
  #closed = false;

  constructor(
    url: string,
    options: Options,
    transports: (gateway: string, environment: Environment) => readonly Transport[],
  ) {
    this.#identity = options;
    const environment = { ...systemEnvironment(options.storage), ...options.environment };
    this.#environment = environment;
    this.#browserActor = new BrowserActor(environment.storage);
    this.gateway = parseGateway(url);
    watchPage(this.gateway, environment.isAutomated);
    const offered = transports(this.gateway, environment);
    // HTTP comes last, because it always gets through.
    this.#http = offered.at(-1)!;
    this.#session = this.#makeSession();
    this.#subscriptions = new Subscriptions(
      environment.clock,
      this.#rules,
      () => this.#updateState(),
      () => this.#connection.markProven(true),
    );
    this.#milestones = joinMilestones(
      environment.clock,
      (post, metric) => this.#readMilestones(post, metric),
      (milestone) => this.#emit('milestone', milestone),
    );
    this.#connection = this.#makeConnection(offered);
    this.#leavingPage = new LeavingPage(`${this.gateway}/v1/events`, environment, this.#session);
  }

  get watched(): number {
    return this.#subscriptions.size;
  }

  get waiting(): number {
    return this.#session.unacknowledged.length;
  }

  options(group: string): readonly string[] {
    return this.#rules.options(group);
  }

  post(id: string): Post {
    checkPostId(id);
    return {
      id,
      subscribe: (changed, refused, { present = true } = {}) => {
        if (this.#closed) throw closedError();
        this.#connection.start();
        return this.#subscriptions.add(id, { changed, refused, present });
      },
      like: () => this.#perform(id, 'likes', true),
      unlike: () => this.#perform(id, 'likes', false),
      view: () => this.#perform(id, 'views', 1),
      add: (metric, by = 1) => this.#perform(id, metric, by),
      set: (metric, on) => this.#perform(id, metric, on),
      choose: (option, on = true) => this.#choose(id, option, on),
      onMilestone: (listener) => this.on('milestone', (milestone) => milestone.post === id && listener(milestone)),
      milestones: (metric) => this.#readMilestones(id, metric),
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
    this.#unanswered?.cancel();
    this.state = 'syncing';
    this.#connection.close();
    this.#session.detach();
    this.#session.rejectAll(closedError());
    this.#subscriptions.clear();
    this.#listeners.clear();
  }

  async #choose(post: string, option: string, on: boolean): Promise<void> {
    const problem = this.#rules.explainUnknown(option);
    if (problem) throw new LiveCountsError('BAD_REQUEST', problem);
    await this.#perform(post, option, on);
  }

  async #readMilestones(post: string, metric: string): Promise<MilestoneList> {
    const list = await this.#http.milestones!(this.#credentials ?? (await this.#readCredentials(false)), post, metric);
    // The stored actor can show at its next visit, too, that it has won.
    if (list.reached.some(({ mine }) => mine)) this.#browserActor.act();
    return list;
  }

  async #perform(post: string, metric: string, value: boolean | number): Promise<void> {
    if (this.#closed) throw closedError();
    if (this.#connection.refusal) throw this.#connection.refusal;
    if (typeof value === 'boolean' && this.#browserActor.act() && this.#mayChangeActor) this.#connection.reconnect();
    const { operation, done } = this.#session.push(post, metric, value);
    this.#subscriptions.act(post, (counts) => counts.addPending(operation));
    this.#connection.start();
    this.#session.send();
    await done;
  }

  #makeSession(): Session {
    const { clock } = this.#environment;
    const listener: SessionListener = {
      sent: ({ post, id }) => this.#subscriptions.act(post, (counts) => counts.sent(id)),
      acknowledged: (operation, answer) => {
        const { post, metric, id } = operation;
        this.#connection.markProven(false);
        this.#unanswered?.cancel();
        this.#leavingPage.update(this.#credentials!);
        // If the operation shows already, others made what its acknowledgement changes.
        const source = this.#rules.effects(operation).size ? 'remote' : 'local';
        this.#subscriptions.act(post, (counts) => counts.acknowledge(operation, answer), source);
        if (answer.reached) this.#milestones.readOwn(post, metric);
        if (answer.counts) return;
        clock.after(FRAMES_ARRIVED_MS, () => {
          this.#dropCalls.push(() => this.#subscriptions.act(post, (counts) => counts.dropAcknowledged(id)));
          this.#dropAcknowledged();
        });
      },
      refused: ({ post, id }) => {
        this.#leavingPage.update(this.#credentials!);
        this.#subscriptions.act(post, (counts) => counts.reject(id));
      },
    };
    return new Session(clock, listener, (operation) => this.#http.operate!(this.#credentials!, operation));
  }

  #makeConnection(transports: readonly Transport[]): ReconnectingConnection {
    const session = this.#session;
    const subscriptions = this.#subscriptions;
    return new ReconnectingConnection(
      transports,
      this.#environment,
      (refused) => {
        this.#unanswered ??= expectAnswer(this.gateway, this.#environment.clock);
        return this.#readCredentials(refused);
      },
      session,
      {
        opened: (connection, kind) => this.#opened(connection, kind),
        lost: () => {
          session.detach();
          subscriptions.detach();
          this.#updateState();
        },
        first: () => subscriptions.first,
        check: () => subscriptions.check(),
        received: ([name, payload]) => {
          if (name === 'counts') subscriptions.applyFrame(payload);
          else if (name === 'mine') subscriptions.applyToggle(payload);
          else if (name === 'milestone')
            void this.#milestones.receive(
              payload,
              session.unacknowledged.map(({ done }) => done),
            );
        },
        failed: (error) => this.#emit('error', error),
        refused: (error) => {
          this.#unanswered?.cancel();
          warnOnce(error.code, error.message);
          session.rejectAll(error);
        },
        left: () => {
          subscriptions.show(false);
          this.#leave();
        },
        shown: () => subscriptions.show(true),
      },
    );
  }

  #leave(): void {
    const credentials = this.#credentials;
    if (credentials)
      this.#leavingPage.leave(credentials, !this.#isOwnActor(credentials) || this.#browserActor.isStored);
  }

  #opened(connection: TransportConnection, kind: Transport['kind']): void {
    // A stream without posts has no answer yet.
    if (kind === 'socket' || this.watched > 0) this.#unanswered?.cancel();
    this.#subscriptions.attach(connection);
    this.#session.attach(connection, kind);
    this.#updateState();
    this.#leavingPage.resend(this.#credentials!);
  }

  async #readCredentials(refused: boolean): Promise<Credentials> {
    const { token, actor } = this.#identity;
    const given = typeof token === 'function' ? await token(refused) : token;
    const acting = this.#isOwnActor({ token: given })
      ? this.#browserActor.read(this.#mayChangeActor)
      : (actor ?? undefined);
    const automated = this.#environment.isAutomated || undefined;
    return (this.#credentials = { token: given, actor: acting, session: this.#sessionId, automated });
  }

  /** Whether the client made the name of its actor. */
  #isOwnActor({ token }: Pick<Credentials, 'token'>): boolean {
    return this.#identity.actor === undefined && token === undefined;
  }

  /** Nothing is on its way that another actor would repeat. */
  get #mayChangeActor(): boolean {
    return !this.#session.unacknowledged.some(({ sentOver }) => sentOver);
  }

  #updateState(): void {
    const state = this.#subscriptions.isCurrent ? 'synced' : 'syncing';
    if (state === this.state || this.#closed) return;
    this.state = state;
    this.#dropAcknowledged();
    this.#emit(state);
  }

  #dropAcknowledged(): void {
    if (this.state === 'synced' && !this.#closed) for (const forget of this.#dropCalls.splice(0)) forget();
  }

  #emit<Name extends keyof LiveCountsEvents>(name: Name, ...payload: Parameters<LiveCountsEvents[Name]>): void {
    for (const listener of this.#listeners.get(name) ?? []) rethrowLater(() => listener(payload[0] as never));
  }
}

function closedError(): LiveCountsError {
  return new LiveCountsError('CLOSED', 'this client is closed; create another one');
}
