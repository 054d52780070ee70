import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressLimiter } from '../access/address-limiter.js';
import { BODY_BYTES_PER_UNIT, CONNECT_COST, MessageBudget, REQUEST_COST } from '../access/message-budget.js';
import type { TokenBucket } from '../access/rate-limit.js';
import type { FlowControlRegistry } from './flow-control-registry.js';
import { type Engine, findConnection, prependMiddleware } from './transport/engine-internals.js';
import { TRANSPORT_BYTES_MAX } from './transport/packet-decoder.js';
import type { UnitWaiter } from './waiting-senders.js';
import { WaitingEngineRequests } from './waiting-engine-requests.js';

type Next = () => void;

/** Chunks of a request's body. 256 KiB arrive in some 200; a client that sends single bytes makes an object of each. */
const CHUNKS_MAX = 1_024;

/**
 * Charges Engine.IO's requests, as messages are charged. A request without units waits. For Engine.IO's `use`, before any
 * other middleware.
 */
export class EngineRequestGate {
  readonly #waiting = new WaitingEngineRequests();

  constructor(
    private readonly engine: Engine,
    private readonly flowControls: FlowControlRegistry,
    private readonly addresses: AddressLimiter,
  ) {}

  /** To be called before other middlewares are added. */
  attach(): void {
    this.engine.use(this.#handle);
    // Engine.IO's CORS middleware comes first and responds to preflights itself.
    prependMiddleware(this.engine, (request: IncomingMessage, response: ServerResponse, next: Next) => {
      if (request.method === 'OPTIONS') this.#handleUnknown(request, response, next);
      else next();
    });
  }

  readonly #handle = (request: IncomingMessage, response: ServerResponse, next: Next): void => {
    const connection = findConnection(this.engine, request);
    const flowControl = connection && this.flowControls.find(connection);
    if (flowControl === undefined) {
      this.#handleUnknown(request, response, next);
      return;
    }
    flowControl.spend(computeCost(request));
    if (request.method !== 'POST') next();
    else {
      const read = (): void => {
        boundChunks(request);
        next();
      };
      if (flowControl.isReading) read();
      else
        this.#waiting.wait(flowControl.address, request, response, read, (proceed) => flowControl.onceReading(proceed));
    }
  };

  /** Charges the address, because the request belongs to no connection, or to none any more. */
  #handleUnknown(request: IncomingMessage, response: ServerResponse, next: Next): void {
    const { queue } = this.flowControls;
    const address = this.addresses.addressOf(request);
    const cost = request.method === 'GET' ? CONNECT_COST : computeCost(request);
    const units = this.addresses.messageTokenBucket(address);
    if (units === null || units.take(queue.clock.nowMs(), cost) === 0) {
      next();
      return;
    }
    queue.recordWait(address);
    this.#waiting.wait(address, request, response, next, (proceed) =>
      queue.enqueue(new WaitingRequest(address, units, cost, request, proceed)),
    );
  }
}

/** A request without a connection, until its address has units again. */
class WaitingRequest implements UnitWaiter {
  floodingSinceMs = 0;
  /** Never, because earlier requests of the address are not known here. Only one that waits for long counts as flooding. */
  renewedAtMs = -Infinity;
  readonly #budget: MessageBudget;

  constructor(
    readonly address: string,
    units: TokenBucket,
    private readonly cost: number,
    private readonly request: IncomingMessage,
    readonly proceed: () => void,
  ) {
    this.#budget = new MessageBudget(0, units, 0);
  }

  renew(nowMs: number): boolean {
    return this.request.socket.destroyed || this.#budget.renew(nowMs, -this.cost) > 0;
  }

  disconnectFlooding(): void {
    this.request.socket.destroy();
  }
}

function computeCost(request: IncomingMessage): number {
  if (request.method !== 'POST') return REQUEST_COST;
  const length = Number(request.headers['content-length'] ?? TRANSPORT_BYTES_MAX);
  return REQUEST_COST + Math.min(length, TRANSPORT_BYTES_MAX) / BODY_BYTES_PER_UNIT;
}

/**
 * Destroys a request whose body arrives in too many chunks. Listens only after Engine.IO does, which reads the body from
 * the same turn on: the first listener alone would get the chunks until then.
 */
function boundChunks(request: IncomingMessage): void {
  let chunks = 0;
  setImmediate(() => {
    if (request.readableEnded) return;
    request.on('data', () => {
      if ((chunks += 1) > CHUNKS_MAX) request.destroy();
    });
  });
}
