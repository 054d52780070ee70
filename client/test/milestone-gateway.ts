import type { MilestoneEvent } from '../../src/protocol/messages.js';
import type { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import type { Random } from '../../test/support/random.js';
import { Client } from '../src/client.js';
import type { LiveCounts } from '../src/live-counts.js';
import type { MilestoneList } from '../src/milestones.js';
import type {
  Acknowledgement,
  ClientOperation,
  ConnectionListener,
  Snapshot,
  SubscribeResult,
  Transport,
  TransportConnection,
} from '../src/transport.js';

const LATENCY_MS = 60;
export const ACTORS = ['ann', 'bob'];
/** A page reads three times. */
const LOST_READS_MAX = 2;
const EPOCH_MS = Date.UTC(2026, 0, 1);

/** A gateway with one post, whose views have milestones. Events and reads may be lost, and everything takes a while. */
export class MilestoneGateway {
  readonly reached: { n: number; winner: string; v: number; at: string; atMs: number; lostTo: Set<string> }[] = [];
  readonly #viewers = new Map<string, ConnectionListener>();
  /** By actor, the reads that were lost in a row. */
  readonly #lostReads = new Map<string, number>();
  #total = 0;
  #v = 0;

  constructor(
    private readonly clock: SimulatedClock,
    private readonly random: Random,
    private readonly armed: readonly number[],
    /** Another region decides: its records arrive this late. Then no read is lost. */
    private readonly lagMs = 0,
  ) {}

  connect(actor: string, kind: Transport['kind']): LiveCounts {
    const { clock, random } = this;
    const environment = { clock: this.#clientClock(), random: () => random.next() };
    const transport: Transport = {
      kind,
      connect: (_, listener) => {
        clock.after(0, () => listener.opened());
        return this.#connection(actor, listener);
      },
      operate: (_, operation) => this.#operate(actor, operation),
      milestones: () => this.#read(actor),
    };
    return new Client('http://simulated', { actor, environment }, () => [transport]);
  }

  #clientClock() {
    return {
      nowMs: () => this.clock.nowMs(),
      after: (ms: number, call: () => void) => this.clock.after(ms, call),
      frame: (call: () => void) => void this.clock.after(16, call),
    };
  }

  #connection(actor: string, listener: ConnectionListener): TransportConnection {
    return {
      subscribe: () => {
        this.#viewers.set(actor, listener);
        const counts = [{ ...this.#update(), mine: [] }];
        return this.#later<SubscribeResult>(() => ({ ok: true, counts }));
      },
      unsubscribe: () => undefined,
      operate: (operation) => this.#operate(actor, operation),
      close: () => undefined,
    };
  }

  #operate(actor: string, { value }: ClientOperation): Promise<Acknowledgement> {
    return this.#later(() => {
      const before = this.#total;
      this.#total += Number(value);
      this.#v++;
      const crossed = this.armed.filter((n) => n > before && n <= this.#total);
      for (const n of crossed) this.#reach(n, actor);
      const answer = { ok: true as const, counts: this.#update() };
      return crossed.length > 0 ? { ...answer, reached: true } : answer;
    });
  }

  #reach(n: number, winner: string): void {
    const at = new Date(EPOCH_MS + this.clock.nowMs()).toISOString();
    const event: MilestoneEvent = { post: 'p', metric: 'views', n, v: this.#v, at };
    const lostTo = new Set(ACTORS);
    this.reached.push({ n, winner, v: this.#v, at, atMs: this.clock.nowMs(), lostTo });
    for (const [actor, viewer] of this.#viewers) {
      if (this.random.chance(0.3)) continue;
      lostTo.delete(actor);
      const delayMs = this.lagMs + this.random.below(LATENCY_MS);
      this.clock.after(delayMs, () => viewer.received(['milestone', event]));
    }
  }

  async #read(actor: string): Promise<MilestoneList> {
    const lost = this.#lostReads.get(actor) ?? 0;
    const isLost = lost < LOST_READS_MAX && this.lagMs === 0 && this.random.chance(0.3);
    this.#lostReads.set(actor, isLost ? lost + 1 : 0);
    const list = await this.#later(() => ({
      armed: [],
      reached: this.reached
        .filter(({ atMs }) => atMs + this.lagMs <= this.clock.nowMs())
        .map(({ n, v, at, winner }) => {
          return { n, v, at, final: true, ...(winner === actor && { mine: true as const }) };
        }),
    }));
    if (isLost) throw new Error('lost');
    return list;
  }

  #update(): Snapshot {
    return { post: 'p', e: 'e', v: this.#v, likes: 0, views: this.#total, live: 1 };
  }

  /** A request and its response. */
  #later<Answer>(handle: () => Answer): Promise<Answer> {
    return new Promise((resolve) => {
      this.clock.after(this.random.below(LATENCY_MS), () => {
        const answer = handle();
        this.clock.after(this.random.below(LATENCY_MS), () => resolve(answer));
      });
    });
  }
}
