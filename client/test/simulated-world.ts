import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { Random } from '../../test/support/random.js';
import type { Post } from '../src/api.js';
import { Client } from '../src/client.js';
import type { PageChange } from '../src/environment.js';
import type { LiveCountsError } from '../src/errors.js';
import type { Change } from '../src/post-counts.js';
import type { Credentials, Transport } from '../src/transport.js';
import { MemoryStorage } from './memory-storage.js';
import type { Fault } from './simulated-faults.js';
import { SimulatedGateway } from './simulated-gateway.js';
import { OPTIONS } from './simulated-post.js';
import { SimulatedNetwork } from './simulated-network.js';

export const POSTS = ['p', 'q'] as const;
/** Visits of up to 90 s: all of them are within the time that an entry is kept. */
const VISITS_MAX = 30;
const ACTORS = ['ann', 'ann', 'bob'] as const;

/** An operation that a test requested from a client, and its outcome. */
export interface RequestedOperation {
  readonly post: string;
  readonly metric: string;
  readonly value: boolean | number;
  /** Undefined while it is not known, and if its page has ended before. */
  outcome: string | undefined;
}

/** A client, its page, and the changes that its subscribers got. */
export class SimulatedPage {
  readonly live: Client;
  readonly changes = new Map<string, Change[]>();
  readonly operations: RequestedOperation[] = [];
  hidden = false;
  #changed: (change: PageChange) => void = () => undefined;
  /** Empty before the first attempt to connect, or the first request of the page that is left. */
  session = '';
  #hasEnded = false;

  constructor(
    private readonly network: SimulatedNetwork,
    readonly number: number,
    readonly actor: string,
    readonly kinds: readonly Transport['kind'][],
    storage: MemoryStorage,
    sessionStorage: MemoryStorage,
  ) {
    const { clock, random } = network;
    const environment = {
      clock: {
        nowMs: () => clock.nowMs(),
        after: (ms: number, call: () => void) => clock.after(ms, () => this.#hasEnded || call()),
        frame: (call: () => void) => void clock.after(16, () => this.#hasEnded || call()),
      },
      random: () => random.next(),
      page: this.#page(),
      storage,
      sessionStorage,
      fetch: (_: unknown, init?: RequestInit) => {
        // Requests for what other pages have left need not outlive this one.
        if (init!.keepalive) this.session = (JSON.parse(init!.body as string) as Credentials).session;
        return this.#whileAlive(network.fetch(init!, this.session));
      },
    };
    const noting = (transport: Transport): Transport => ({
      ...transport,
      connect: (credentials, listener) => {
        this.session = credentials.session;
        return transport.connect(credentials, listener);
      },
      operate: (credentials, operation) => this.#whileAlive(transport.operate!(credentials, operation)),
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
    const done = typeof value === 'number' ? handle.add(metric, value) : act(handle, metric, value);
    const requested: RequestedOperation = { post, metric, value, outcome: undefined };
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
    this.change(hidden ? 'hidden' : 'shown');
  }

  change(change: PageChange): void {
    if (this.#hasEnded) return;
    if (change !== 'online') this.hidden = change !== 'shown';
    this.#changed(change);
  }

  /** Leaves the page, and comes back to it. */
  leaveFor(ms: number): void {
    this.change('left');
    this.network.clock.after(ms, () => this.change('shown'));
  }

  /** Leaves the page and ends it: nothing of it runs any more. */
  end(): void {
    this.change('left');
    this.#hasEnded = true;
    this.network.end(this.number);
  }

  /** Responses do not reach a page that has ended. */
  #whileAlive<T>(response: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      response.then(
        (value) => this.#hasEnded || resolve(value),
        (error: unknown) => this.#hasEnded || reject(error as Error),
      );
    });
  }

  #page() {
    const isHidden = (): boolean => this.hidden;
    return {
      get hidden() {
        return isHidden();
      },
      onChange: (call: (change: PageChange) => void) => {
        this.#changed = call;
        return () => (this.#changed = () => undefined);
      },
    };
  }
}

function act(handle: Post, metric: string, on: boolean): Promise<void> {
  return OPTIONS.includes(metric) ? handle.choose(metric, on) : handle.set(metric, on);
}

/** Two tabs of one actor and a page of another one, at a gateway, with a simulated clock and seeded randomness. */
export class SimulatedWorld {
  readonly clock = new SimulatedClock();
  readonly gateway: SimulatedGateway;
  readonly network: SimulatedNetwork;
  /** The open pages. */
  readonly pages: SimulatedPage[];
  readonly #ended: SimulatedPage[] = [];
  /** Both tabs of ann are in one browser. */
  readonly #storages: readonly MemoryStorage[];
  readonly #sessionStorages = ACTORS.map(() => new MemoryStorage());

  constructor(
    seed: number,
    private readonly kinds: readonly (readonly Transport['kind'][])[],
    fault: Fault = {},
  ) {
    const random = new Random(seed);
    this.gateway = new SimulatedGateway(this.clock, random);
    this.network = new SimulatedNetwork(this.clock, random, this.gateway, fault);
    const [ann, bob] = [new MemoryStorage(), new MemoryStorage()];
    this.#storages = [ann, ann, bob];
    this.pages = ACTORS.map((_, n) => this.#open(n));
  }

  /** Ends a page, and opens another one in its tab. */
  revisit(n: number): void {
    this.pages[n]!.end();
    this.#ended.push(this.pages[n]!);
    this.pages[n] = this.#open(n);
  }

  /** The open pages and those that have ended. */
  get allPages(): SimulatedPage[] {
    return [...this.#ended, ...this.pages];
  }

  get operations(): RequestedOperation[] {
    return this.allPages.flatMap(({ operations }) => operations);
  }

  get #storedItems(): number {
    return this.#storages.reduce((sum, { length }) => sum + length, 0);
  }

  /** Ends and opens pages until the storages are empty. A visit whose request is lost leaves it to the next one. */
  async visitUntilSent(visitMs: number): Promise<void> {
    for (let visit = 0; visit < VISITS_MAX && this.#storedItems > 0; visit++) {
      for (const n of this.pages.keys()) this.revisit(n);
      await this.clock.advance(visitMs);
    }
  }

  #open(n: number): SimulatedPage {
    const storages = [this.#storages[n]!, this.#sessionStorages[n]!] as const;
    return new SimulatedPage(this.network, n, ACTORS[n]!, this.kinds[n]!, ...storages);
  }

  /** Removes all faults and lets time pass. */
  async heal(forMs: number): Promise<void> {
    this.network.blocked.clear();
    this.network.openingMs.clear();
    this.network.refusals = 0;
    this.gateway.refusals.length = 0;
    this.gateway.partialLists.length = 0;
    await this.clock.advance(forMs);
  }
}
