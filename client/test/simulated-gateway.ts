import type { ErrorBody, ErrorCode } from '../../src/protocol/errors.js';
import type { Failure, MineEvent, Update } from '../../src/protocol/messages.js';
import type { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import type { Acknowledgement, KnownVersion, ClientOperation, Snapshot } from '../src/transport.js';

const TICK_MS = 100;
const TOGGLES = ['likes', 'saves'];
const TALLIES = ['views', 'shares'];

/** A connection as the gateway sees it. */
export interface Viewer {
  readonly kind: 'socket' | 'events';
  readonly actor: string;
  readonly posts: ReadonlySet<string>;
  counts(updates: readonly Update[]): void;
  mine(event: MineEvent): void;
}

class PostState {
  v = 1;
  readonly on = new Map(TOGGLES.map((metric) => [metric, new Set<string>()]));
  readonly tallies = new Map(TALLIES.map((metric) => [metric, 0]));
}

/**
 * Gateways that share a store, by the rules of docs/protocol.md: last seqs of sessions, idempotency keys, versions, epochs,
 * a frame each tick to the viewers of changed posts. A test reads from `applied` how often each operation took effect.
 */
export class SimulatedGateway {
  /** Keyed by session and seq, for all transports. */
  readonly applied = new Map<string, number>();
  readonly viewers = new Set<Viewer>();
  /** Errors for the next operations. With `done` the operation takes effect even so. */
  readonly refusals: { readonly code: ErrorCode; readonly done: boolean }[] = [];
  #epoch = 1;
  readonly #posts = new Map<string, PostState>();
  readonly #changed = new Map<string, Record<string, number>>();
  readonly #lastSeqs = new Map<string, number>();
  readonly #keys = new Set<string>();

  constructor(private readonly clock: SimulatedClock) {}

  operate(viewer: Viewer, session: string, operation: ClientOperation): Acknowledgement | Failure {
    const { seq, post, metric, value } = operation;
    if (![...TOGGLES, ...TALLIES].includes(metric)) return refusal('BAD_REQUEST');
    const refused = this.refusals.shift();
    if (refused && !refused.done) return refusal(refused.code);
    if (this.#isNew(viewer.kind, session, seq)) {
      const name = `${session}.${seq}`;
      this.applied.set(name, (this.applied.get(name) ?? 0) + 1);
      this.#apply(viewer, post, metric, value);
    }
    if (refused) return refusal(refused.code);
    // HTTP sends neither a version nor all counts.
    if (viewer.kind === 'events') return { ok: true };
    const counts = this.update(post);
    if (typeof value === 'number') return { ok: true, counts };
    return { ok: true, counts, on: this.mine(post, viewer.actor).includes(metric) };
  }

  /** Adds on behalf of actors without a simulated client. */
  addByOthers(post: string, metric: string, by: number): void {
    this.#add(post, metric, by);
  }

  snapshots(viewer: Viewer, posts: readonly string[], known: ReadonlyMap<string, KnownVersion>): Snapshot[] {
    if (viewer.kind === 'events') return [...viewer.posts].map((post) => this.update(post));
    const isKnown = (post: string): boolean => known.get(post)?.join() === [this.#epochName, this.#post(post).v].join();
    const changed = posts.filter((post) => !isKnown(post));
    return changed.map((post) => ({ ...this.update(post), mine: this.mine(post, viewer.actor) }));
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
    const { v, on, tallies } = this.#post(post);
    const toggles = Object.fromEntries([...on].map(([metric, actors]) => [metric, actors.size]));
    return { post, e: this.#epochName, v, ...toggles, ...Object.fromEntries(tallies), live: 1 };
  }

  mine(post: string, actor: string): string[] {
    return [...this.#post(post).on].filter(([, actors]) => actors.has(actor)).map(([metric]) => metric);
  }

  get #epochName(): string {
    return `epoch-${this.#epoch}`;
  }

  /** Sockets use the last seq, HTTP uses keys; neither recognises retries of the other. */
  #isNew(kind: Viewer['kind'], session: string, seq: number): boolean {
    if (kind === 'socket') {
      if (seq <= (this.#lastSeqs.get(session) ?? 0)) return false;
      this.#lastSeqs.set(session, seq);
      return true;
    }
    const key = `${session}.${seq}`;
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    return true;
  }

  #apply(viewer: Viewer, post: string, metric: string, value: boolean | number): void {
    if (typeof value === 'number') return this.#add(post, metric, value);
    const actors = this.#post(post).on.get(metric)!;
    if (actors.has(viewer.actor) === value) return;
    if (value) actors.add(viewer.actor);
    else actors.delete(viewer.actor);
    this.#post(post).v++;
    this.#recordChange(post, { [metric]: value ? 1 : -1 });
    for (const other of this.viewers) {
      if (other !== viewer && other.kind === 'socket' && other.actor === viewer.actor)
        other.mine({ post, metric, on: value });
    }
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

function refusal(code: ErrorCode): Failure {
  const error: ErrorBody = { code, message: 'refused', retryable: code !== 'BAD_REQUEST' };
  return { ok: false, error: code === 'RATE_LIMITED' ? { ...error, retryAfterMs: 200 } : error };
}
