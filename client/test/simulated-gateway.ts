import type { ErrorBody, ErrorCode } from '../../src/protocol/errors.js';
import type { Failure, MineEvent, Update } from '../../src/protocol/messages.js';
import type { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import type { Random } from '../../test/support/random.js';
import type { PostedEvent } from '../src/posted-events.js';
import { RejectedOperations, RETRY_MS } from './rejected-operations.js';
import { OPTIONS, PostState, TALLIES, TOGGLES, UNIQUES, METRICS } from './simulated-post.js';
import type { Acknowledgement, CloseReason, KnownVersion, ClientOperation, Snapshot } from '../src/transport.js';

const TICK_MS = 100;
/** A gateway that shuts down disconnects its clients within this time. */
const CLOSING_MS = 500;
/** Events wait in a log at most this long. */
const LOG_LAG_MS = 5_000;

/** The response to `POST /v1/events`. */
export interface PostedResponse {
  readonly status: number;
  readonly rejected: readonly { readonly index: number; readonly error: ErrorBody }[];
}

/** A connection as the gateway sees it. */
export interface Viewer {
  readonly kind: 'socket' | 'events';
  readonly actor: string;
  readonly posts: ReadonlySet<string>;
  counts(updates: readonly Update[]): void;
  mine(event: MineEvent): void;
  lose(ending: CloseReason): void;
}

type Effect = Pick<ClientOperation, 'post' | 'metric' | 'value'>;
type SequencedOperation = Omit<ClientOperation, 'id'>;

/** The sender of an operation. It need not be connected. */
type Sender = Pick<Viewer, 'kind' | 'actor' | 'lose'>;

/**
 * Gateways that share a store, by the rules of docs/protocol.md: last seqs of sessions, idempotency keys, versions, epochs,
 * a frame each tick to the viewers of changed posts. A test reads from `applied` how much of each operation took effect.
 */
export class SimulatedGateway {
  /** How each operation took effect, keyed by session and seq, in the order of the first effects. Of a tally it has the sum. */
  readonly applied = new Map<string, Effect>();
  readonly viewers = new Set<Viewer>();
  /** Errors for the next operations. With `done` the operation takes effect even so. */
  readonly refusals: { readonly code: ErrorCode; readonly done: boolean }[] = [];
  /** How many events of the next posted lists are accepted; the others are rejected with a retryable error. */
  readonly partialLists: number[] = [];
  /** Number of messages that subscribed something. */
  subscriptions = 0;
  /** An older gateway sends no toggles over event streams. */
  isOld = false;
  /** Posted events wait in a log: they are accepted before they are counted. */
  hasLog = false;
  /** The log is counted in order. */
  #logAtMs = 0;
  #epoch = 1;
  readonly #posts = new Map<string, PostState>();
  readonly #changed = new Map<string, Record<string, number>>();
  readonly #lastSeqs = new Map<string, number>();
  readonly #keys = new Set<string>();
  readonly #notifications: (() => void)[] = [];
  readonly #rejected = new WeakMap<Sender, RejectedOperations>();
  /** The connections of gateways that shut down. */
  readonly #closing = new WeakSet<Sender>();

  constructor(
    private readonly clock: SimulatedClock,
    private readonly random: Random,
  ) {}

  operate(viewer: Sender, session: string, operation: ClientOperation): Acknowledgement | Failure {
    const { post, metric, value } = operation;
    if (!METRICS.includes(metric)) return refusal('BAD_REQUEST');
    if (viewer.kind === 'events') return this.#operateOverHttp(viewer, session, operation);
    const failure = this.#refuse(viewer, operation.seq);
    if (failure && !failure.done) return failure.refusal;
    this.#applySeq(viewer.actor, session, operation, viewer);
    if (failure) return failure.refusal;
    const counts = this.update(post);
    if (typeof value === 'number') return { ok: true, counts };
    return { ok: true, counts, on: this.mine(post, viewer.actor).includes(metric) };
  }

  #operateOverHttp(viewer: Sender, session: string, { seq, post, metric, value }: ClientOperation) {
    const refused = this.refusals.shift();
    if (refused && !refused.done) return refusal(refused.code);
    for (let n = 1; n <= (typeof value === 'number' ? value : 1); n++) {
      const one = typeof value === 'number' ? 1 : value;
      this.#applyKey(viewer.actor, `${session}.${seq}.${n}`, { post, metric, value: one }, viewer);
    }
    if (refused) return refusal(refused.code);
    // HTTP sends not all counts. A proxy on the way may drop the header that has their version.
    const { e, v } = this.update(post);
    const ok: Acknowledgement = { ok: true, ...(seq % 3 > 0 && { at: [e, v] as const }) };
    return typeof value === 'number' ? ok : { ...ok, on: this.mine(post, viewer.actor).includes(metric) };
  }

  /** By the gateway's own rule nothing overtakes a rejected operation of its connection. */
  #refuse(viewer: Sender, seq: number): { readonly refusal: Failure; readonly done: boolean } | undefined {
    const nowMs = this.clock.nowMs();
    if (this.#closing.has(viewer)) return { refusal: refusal('UNAVAILABLE'), done: false };
    const rejected = this.#rejected.get(viewer) ?? new RejectedOperations();
    this.#rejected.set(viewer, rejected);
    const waitMs = rejected.admit(nowMs, seq);
    if (waitMs > 0) return { refusal: refusal('RATE_LIMITED', waitMs), done: false };
    const refused = this.refusals.shift();
    if (!refused) return undefined;
    const { code, done } = refused;
    if (code !== 'UNAVAILABLE') rejected.block(nowMs, seq);
    // The store never drops what a gateway has accepted, so only one that shuts down does not count it.
    else if (!done) this.#shutDown(viewer);
    return { refusal: refusal(code), done };
  }

  #shutDown(viewer: Sender): void {
    this.#closing.add(viewer);
    this.clock.after(this.random.below(CLOSING_MS), () => viewer.lose({ retryAfterMs: RETRY_MS }));
  }

  /** `POST /v1/events`. */
  postEvents(actor: string, session: string, events: readonly PostedEvent[]): PostedResponse {
    const refused = this.refusals.shift();
    const error = refused && refusal(refused.code).error;
    if (!refused?.done && error) return { status: 503, rejected: [] };
    const room = this.partialLists.shift() ?? Infinity;
    const rejected = events.flatMap(({ metric }, index) => {
      if (!METRICS.includes(metric)) return [{ index, error: refusal('BAD_REQUEST').error }];
      return index < room ? [] : [{ index, error: refusal('RATE_LIMITED').error }];
    });
    const kept = events.filter((_, at) => rejected.every(({ index }) => index !== at));
    if (this.hasLog) this.#log(actor, session, kept);
    else for (const event of kept) this.#applyPosted(actor, session, event);
    if (error) return { status: 503, rejected: [] };
    if (kept.length > 0) return { status: 202, rejected };
    return { status: rejected.some(({ error: one }) => one.retryable) ? 429 : 400, rejected: [] };
  }

  #log(actor: string, session: string, events: readonly PostedEvent[]): void {
    this.#logAtMs = Math.max(this.#logAtMs, this.clock.nowMs() + this.random.below(LOG_LAG_MS));
    this.clock.after(this.#logAtMs - this.clock.nowMs(), () => {
      for (const event of events) this.#applyPosted(actor, session, event);
    });
  }

  #applyPosted(actor: string, session: string, { post, metric, by = 1, on, seq, key }: PostedEvent): void {
    const operation = { post, metric, value: on ?? by };
    if (key === undefined) this.#applySeq(actor, session, { ...operation, seq: seq! });
    else this.#applyKey(actor, key, operation);
  }

  /** Adds on behalf of actors without a simulated client. */
  addByOthers(post: string, metric: string, by: number): void {
    this.#add(post, metric, by);
  }

  snapshots(viewer: Viewer, posts: readonly string[], known: ReadonlyMap<string, KnownVersion>): Snapshot[] {
    this.subscriptions++;
    const mine = (post: string): Pick<Snapshot, 'mine'> => {
      return viewer.kind === 'events' && this.isOld ? {} : { mine: this.mine(post, viewer.actor) };
    };
    if (viewer.kind === 'events') return [...viewer.posts].map((post) => ({ ...this.update(post), ...mine(post) }));
    const isKnown = (post: string): boolean => known.get(post)?.join() === [this.#epochName, this.#post(post).v].join();
    const changed = posts.filter((post) => !isKnown(post));
    return changed.map((post) => ({ ...this.update(post), ...mine(post) }));
  }

  /** Sends the changes since the previous tick to their viewers. */
  #tick(): void {
    for (const viewer of this.viewers) {
      const updates = [...this.#changed].filter(([post]) => viewer.posts.has(post));
      if (updates.length > 0) viewer.counts(updates.map(([post, d]) => ({ ...this.update(post), d })));
    }
    this.#changed.clear();
  }

  /** Versions start again, as after a failover; counts are kept. */
  newEpoch(): void {
    this.#epoch++;
    for (const [post, state] of this.#posts) {
      state.v = 1;
      this.#recordChange(post, {});
    }
  }

  update(post: string): Update {
    const { v, members, tallies } = this.#post(post);
    const sizes = Object.fromEntries([...members].map(([metric, actors]) => [metric, actors.size]));
    return { post, e: this.#epochName, v, ...sizes, ...Object.fromEntries(tallies), live: 1 };
  }

  mine(post: string, actor: string): string[] {
    return TOGGLES.filter((metric) => this.#post(post).members.get(metric)!.has(actor));
  }

  get #epochName(): string {
    return `epoch-${this.#epoch}`;
  }

  /** As an operation of a session: those up to its last seq are duplicates. */
  #applySeq(actor: string, session: string, operation: SequencedOperation, viewer?: Sender): void {
    const { seq } = operation;
    if (seq <= (this.#lastSeqs.get(session) ?? 0)) return;
    this.#lastSeqs.set(session, seq);
    this.#apply(actor, `${session}.${seq}`, operation, viewer);
  }

  /** As a request with an idempotency key, which a seq does not recognise. */
  #applyKey(actor: string, key: string, operation: Effect, viewer?: Sender): void {
    if (this.#keys.has(key)) return;
    this.#keys.add(key);
    this.#apply(actor, key.slice(0, key.lastIndexOf('.')), operation, viewer);
  }

  #apply(actor: string, name: string, { post, metric, value }: Effect, viewer?: Sender): void {
    const before = this.applied.get(name)?.value ?? 0;
    const sum = typeof value === 'number' ? Number(before) + value : value;
    this.applied.set(name, { post, metric, value: sum });
    if (typeof value === 'number' && TALLIES.includes(metric)) return this.#add(post, metric, value);
    const others = value === true && OPTIONS.includes(metric) ? OPTIONS.filter((option) => option !== metric) : [];
    const affected = this.random.chance(0.5) ? [metric, ...others] : [...others, metric];
    const events = affected.map((one) => ({ post, metric: one, on: one === metric && value !== false }));
    const changes = events.filter((event) => this.#turn(actor, event));
    if (changes.length === 0) return;
    this.#post(post).v++;
    this.#recordChange(post, Object.fromEntries(changes.map(({ metric: one, on }) => [one, on ? 1 : -1])));
    if (UNIQUES.includes(metric)) return;
    this.#notifications.push(() => this.#notifyActor(actor, changes, { viewer, metric }));
    this.clock.after(0, () => this.notify());
  }

  /** To be called after an acknowledgement, which does not say which other options were put off, and before the next one. */
  notify(): void {
    for (const send of this.#notifications.splice(0)) send();
  }

  #notifyActor(
    actor: string,
    events: readonly MineEvent[],
    sender: { viewer: Sender | undefined; metric: string },
  ): void {
    for (const viewer of this.viewers) {
      if ((viewer.kind === 'events' && this.isOld) || viewer.actor !== actor) continue;
      for (const event of events) {
        // Operations over HTTP belong to no stream.
        if (viewer !== sender.viewer || viewer.kind === 'events' || event.metric !== sender.metric) viewer.mine(event);
      }
    }
  }

  /** @returns whether it was the other way before */
  #turn(actor: string, { post, metric, on }: MineEvent): boolean {
    const actors = this.#post(post).members.get(metric)!;
    if (actors.has(actor) === on) return false;
    if (on) actors.add(actor);
    else actors.delete(actor);
    return true;
  }

  #add(post: string, metric: string, by: number): void {
    const state = this.#post(post);
    state.tallies.set(metric, state.tallies.get(metric)! + by);
    state.v++;
    this.#recordChange(post, { [metric]: by });
  }

  #recordChange(post: string, d: Readonly<Record<string, number>>): void {
    if (this.#changed.size === 0) this.clock.after(TICK_MS, () => this.#tick());
    const all = { ...this.#changed.get(post) };
    for (const [metric, by] of Object.entries(d)) all[metric] = (all[metric] ?? 0) + by;
    this.#changed.set(post, all);
  }

  #post(post: string): PostState {
    const state = this.#posts.get(post) ?? new PostState();
    this.#posts.set(post, state);
    return state;
  }
}

function refusal(code: ErrorCode, retryAfterMs = RETRY_MS): Failure {
  const error: ErrorBody = { code, message: 'refused', retryable: code !== 'BAD_REQUEST' };
  return { ok: false, error: ['RATE_LIMITED', 'OVERLOADED'].includes(code) ? { ...error, retryAfterMs } : error };
}
