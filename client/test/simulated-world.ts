import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { Random } from '../../test/support/random.js';
import { Client } from '../src/client.js';
import type { LiveCountsError } from '../src/errors.js';
import type { Change } from '../src/post-counts.js';
import type { Transport } from '../src/transport.js';
import { SimulatedGateway } from './simulated-gateway.js';
import { SimulatedNetwork } from './simulated-network.js';

export const POSTS = ['p', 'q'] as const;

/** An operation that a test requested from a client, and its outcome. */
interface RequestedOperation {
  readonly name: string;
  readonly value: boolean | number;
  outcome: string | undefined;
}

/** A client, its page, and the changes that its subscribers got. */
export class SimulatedPage {
  readonly live: Client;
  readonly changes = new Map<string, Change[]>();
  readonly operations: RequestedOperation[] = [];
  hidden = false;
  #changed: () => void = () => undefined;
  #session = '';

  constructor(
    network: SimulatedNetwork,
    readonly number: number,
    readonly actor: string,
    readonly kinds: readonly Transport['kind'][],
  ) {
    const { clock, random } = network;
    const environment = {
      clock: {
        nowMs: () => clock.nowMs(),
        after: (ms: number, call: () => void) => clock.after(ms, call),
        frame: (call: () => void) => void clock.after(16, call),
      },
      random: () => random.next(),
      page: this.#page(),
    };
    const noting = (transport: Transport): Transport => ({
      ...transport,
      connect: (credentials, listener) => {
        this.#session = credentials.session;
        return transport.connect(credentials, listener);
      },
    });
    this.live = new Client('http://simulated', { actor, environment }, () =>
      kinds.map((kind) => noting(network.transport(kind, number))),
    );
    for (const post of POSTS) this.subscribe(post);
  }

  /** @returns a function that ends the subscription */
  subscribe(post: string): () => void {
    const changes = this.changes.get(post) ?? [];
    this.changes.set(post, changes);
    return this.live.post(post).subscribe((change) => void changes.push(change));
  }

  act(post: string, metric: string, value: boolean | number): void {
    const handle = this.live.post(post);
    const done = typeof value === 'number' ? handle.add(metric, value) : handle.set(metric, value);
    const seq = this.operations.length + 1;
    const session = (): string => this.#session;
    const requested: RequestedOperation = {
      get name() {
        return `${session()}.${seq}`;
      },
      value,
      outcome: undefined,
    };
    this.operations.push(requested);
    done.then(
      () => (requested.outcome = 'done'),
      (error: unknown) => (requested.outcome = (error as LiveCountsError).code),
    );
  }

  lastChange(post: string): Change | undefined {
    return this.changes.get(post)?.at(-1);
  }

  setHidden(hidden: boolean): void {
    this.hidden = hidden;
    this.#changed();
  }

  #page() {
    const isHidden = (): boolean => this.hidden;
    return {
      get hidden() {
        return isHidden();
      },
      onChange: (call: () => void) => {
        this.#changed = call;
        return () => (this.#changed = () => undefined);
      },
    };
  }
}

/** Two tabs of one actor and a page of another one, at a gateway, with a simulated clock and seeded randomness. */
export class SimulatedWorld {
  readonly clock = new SimulatedClock();
  readonly gateway = new SimulatedGateway(this.clock);
  readonly network: SimulatedNetwork;
  readonly pages: readonly SimulatedPage[];

  constructor(seed: number, kinds: readonly (readonly Transport['kind'][])[]) {
    this.network = new SimulatedNetwork(this.clock, new Random(seed), this.gateway);
    const actors = ['ann', 'ann', 'bob'];
    this.pages = actors.map((actor, i) => new SimulatedPage(this.network, i, actor, kinds[i]!));
  }

  get operations(): RequestedOperation[] {
    return this.pages.flatMap(({ operations }) => operations);
  }

  /** Removes all faults and lets time pass. */
  async heal(forMs: number): Promise<void> {
    this.network.blocked.clear();
    this.network.refusals = 0;
    this.gateway.refusals.length = 0;
    await this.clock.advance(forMs);
  }
}
