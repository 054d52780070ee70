import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket as TcpSocket } from 'node:net';
import type { Server, Socket } from 'socket.io';
import { BODY_BYTES_PER_UNIT, CONNECT_COST, MessageBudget, REQUEST_COST } from '../access/message-budget.js';
import type { TokenBucket } from '../access/rate-limit.js';
import { errorBody } from '../protocol/errors.js';
import { TRANSPORT_BYTES_MAX } from './transport/packet-decoder.js';
import type { UnitWaiter } from './intake.js';
import type { Intakes } from './intakes.js';

type EngineSocket = Socket['conn'];
type Next = () => void;

/** Pieces of a request's body. One of 256 KiB comes in some 200; a client that sends single bytes makes an object of each. */
const PIECES_MAX = 1_024;
/** Requests that may wait at once, of all addresses; more are refused. Each is some 5 KB. */
const WAITING_MAX = 2_000;
/** The same of one address. */
const WAITING_OF_ADDRESS_MAX = 50;
const RETRY_AFTER_S = 10;

/**
 * Requests of Engine.IO: they cost as messages do, and those of who has used up its units wait. For Engine.IO's `use`,
 * before anything else looks at them.
 */
export class RequestGate {
  #waiting = 0;
  readonly #waitingOf = new Map<string, number>();
  /** Connections one of whose requests waits. Who sends more of them before the answer is no browser, and is ended. */
  readonly #busy = new WeakSet<TcpSocket>();

  constructor(
    private readonly engine: Server['engine'],
    private readonly intakes: Intakes,
  ) {}

  /** To be called before other handlers are added. */
  attach(): void {
    this.engine.use(this.#handle);
    // Engine.IO's CORS, which comes first, answers preflights itself.
    const { middlewares } = this.engine as unknown as { readonly middlewares?: unknown };
    if (!Array.isArray(middlewares)) return;
    middlewares.unshift((request: IncomingMessage, response: ServerResponse, next: Next) => {
      if (request.method === 'OPTIONS') this.#handleUnknown(request, response, next);
      else next();
    });
  }

  readonly #handle = (request: IncomingMessage, response: ServerResponse, next: Next): void => {
    const connection = findConnection(this.engine, request);
    const intake = connection && this.intakes.find(connection);
    if (intake === undefined) {
      this.#handleUnknown(request, response, next);
      return;
    }
    intake.spend(costOf(request));
    if (request.method !== 'POST') next();
    else {
      const read = (): void => {
        boundPieces(request);
        next();
      };
      if (intake.isReading) read();
      else this.#wait(intake.address, request, response, read, (go) => intake.onceReading(go));
    }
  };

  /** It belongs to no connection yet, or to none any more: only its address is known. */
  #handleUnknown(request: IncomingMessage, response: ServerResponse, next: Next): void {
    const { addresses, clock } = this.intakes;
    const address = addresses.addressOf(request);
    const cost = request.method === 'GET' ? CONNECT_COST : costOf(request);
    const units = addresses.messageTokenBucket(address);
    if (units === null || units.take(clock.nowMs(), cost) === 0) {
      next();
      return;
    }
    this.intakes.recordWait(address);
    this.#wait(address, request, response, next, (go) =>
      this.intakes.enqueue(new WaitingRequest(address, units, cost, request, go)),
    );
  }

  #wait(
    address: string,
    request: IncomingMessage,
    response: ServerResponse,
    next: Next,
    whenReady: (go: () => void) => void,
  ): void {
    const tcp = request.socket;
    if (this.#busy.has(tcp)) {
      tcp.destroy();
      return;
    }
    const ofAddress = this.#waitingOf.get(address) ?? 0;
    if (this.#waiting >= WAITING_MAX || ofAddress >= WAITING_OF_ADDRESS_MAX) {
      refuse(response);
      return;
    }
    let waits = true;
    const end = (): void => {
      if (!waits) return;
      waits = false;
      this.#waiting -= 1;
      this.#count(address, -1);
      this.#busy.delete(tcp);
      tcp.off('close', end);
    };
    this.#waiting += 1;
    this.#count(address, 1);
    this.#busy.add(tcp);
    tcp.once('close', end);
    whenReady(() => {
      end();
      if (!tcp.destroyed) next();
    });
  }

  #count(address: string, change: 1 | -1): void {
    const count = (this.#waitingOf.get(address) ?? 0) + change;
    if (count === 0) this.#waitingOf.delete(address);
    else this.#waitingOf.set(address, count);
  }
}

/** A request that is nobody's, until its address has units again. */
class WaitingRequest implements UnitWaiter {
  floodingSinceMs = 0;
  /** Other requests of the address are not known of here: what keeps on is the waiting itself. */
  renewedAtMs = -Infinity;
  readonly #budget: MessageBudget;

  constructor(
    readonly address: string,
    units: TokenBucket,
    private readonly cost: number,
    private readonly request: IncomingMessage,
    private readonly go: () => void,
  ) {
    this.#budget = new MessageBudget(0, units, 0);
  }

  renew(nowMs: number): boolean {
    return this.request.socket.destroyed || this.#budget.renew(nowMs, -this.cost) > 0;
  }

  proceed(): void {
    this.go();
  }

  disconnectFlooding(): void {
    this.request.socket.destroy();
  }
}

/** @returns the connection that the request names, if there is one */
export function findConnection(engine: Server['engine'], request: IncomingMessage): EngineSocket | undefined {
  const { searchParams } = new URL(request.url ?? '', 'http://gateway');
  // As Engine.IO does, the last one if there are several.
  const sid = searchParams.getAll('sid').at(-1);
  const { clients } = engine as unknown as { readonly clients: Readonly<Record<string, EngineSocket>> };
  return sid !== undefined && Object.hasOwn(clients, sid) ? clients[sid] : undefined;
}

function costOf(request: IncomingMessage): number {
  if (request.method !== 'POST') return REQUEST_COST;
  const length = Number(request.headers['content-length'] ?? TRANSPORT_BYTES_MAX);
  return REQUEST_COST + Math.min(length, TRANSPORT_BYTES_MAX) / BODY_BYTES_PER_UNIT;
}

/** To be called just before Engine.IO is, which reads the body from the same turn on: whoever comes first reads alone. */
function boundPieces(request: IncomingMessage): void {
  let pieces = 0;
  setImmediate(() => {
    if (request.readableEnded) return;
    request.on('data', () => {
      if ((pieces += 1) > PIECES_MAX) request.destroy();
    });
  });
}

/** For an upgrade Engine.IO gives something that knows `end` only, and closes the connection. */
function refuse(response: ServerResponse): void {
  const error = errorBody('RATE_LIMITED', 'too many requests from your address; slow down', RETRY_AFTER_S * 1_000);
  response.setHeader('Retry-After', String(RETRY_AFTER_S));
  response.writeHead(429, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ error }));
}
