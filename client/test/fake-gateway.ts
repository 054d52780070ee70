import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, type Socket } from 'socket.io';
import { type Clock, systemEnvironment } from '../src/environment.js';
import type { LiveCounts, Options } from '../src/live-counts.js';
import { closeClients, connect } from './clients.js';

export type Acknowledge = (answer: object) => void;

/** A socket.io server whose `onSocket` defines what each connection does. */
export class FakeGateway {
  readonly http = createServer();
  readonly server = new Server(this.http);
  onSocket: (socket: Socket, nth: number) => void = () => undefined;
  #connections = 0;

  static async start(): Promise<FakeGateway> {
    const end = new FakeGateway();
    end.server.on('connection', (socket) => end.onSocket(socket, ++end.#connections));
    end.http.listen(0, '127.0.0.1');
    await once(end.http, 'listening');
    return end;
  }

  /** Creates a client of it. With an empty `actor` the client makes up its own. */
  connect(environment: Options['environment'] = {}, actor: string | undefined = 'ann'): LiveCounts {
    const url = `http://127.0.0.1:${(this.http.address() as AddressInfo).port}`;
    return connect(url, actor === '' ? { environment } : { actor, environment });
  }

  async close(): Promise<void> {
    closeClients();
    await this.server.close();
  }
}

export function update(post: string, v: number): object {
  return { post, e: 'e', v, likes: v, views: 0, live: 1 };
}

export function acknowledgeAll(socket: Socket): void {
  socket.on('subscribe', ({ posts }: { posts: string[] }, answer: Acknowledge) =>
    answer({ ok: true, tickMs: 100, counts: posts.map((post) => ({ ...update(post, 1), mine: [] })) }),
  );
  for (const event of ['add', 'set']) {
    socket.on(event, ({ post }: { post: string }, answer: Acknowledge) =>
      answer({ ok: true, applied: true, duplicate: false, on: true, counts: update(post, 2) }),
    );
  }
}

/** The system's clock, except that timers of `heldMs` fire only by `ring`. Records every wait. */
export class HeldClock implements Clock {
  readonly waits: number[] = [];
  readonly #held = new Set<() => void>();
  readonly #clock = systemEnvironment().clock;

  constructor(private readonly heldMs: number) {}

  nowMs(): number {
    return this.#clock.nowMs();
  }

  after(ms: number, call: () => void) {
    this.waits.push(ms);
    if (ms !== this.heldMs) return this.#clock.after(ms, call);
    this.#held.add(call);
    return { cancel: () => this.#held.delete(call) };
  }

  frame(call: () => void): void {
    this.#clock.frame(call);
  }

  get held(): number {
    return this.#held.size;
  }

  ring(): void {
    for (const call of this.#held) call();
    this.#held.clear();
  }
}
