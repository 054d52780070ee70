import { Inject, Injectable } from '@nestjs/common';
import type { Clock } from '../common/clock.js';
import { ClosingFlag } from '../common/closing-flag.js';
import { sleep } from '../common/sleep.js';
import { Fanout } from '../fanout/fanout.js';
import { CountsGateway } from '../gateway/counts.gateway.js';
import { StreamRegistry } from '../http/stream-registry.js';
import { Ingest } from '../ingest/ingest.js';
import { GATEWAY_CLOSING } from '../protocol/errors.js';
import { CLOCK } from '../config/injection-tokens.js';

/** How long operations in flight may take. */
const COMMIT_LIMIT_MS = 10_000;
/** `retryAfterMs` of clients is random and at most this, so that they do not all reconnect at once. */
const RECONNECT_WITHIN_MS = 2_000;
/** How long clients may take to read their last frame and `bye`. A client on long-polling first has to send its next request. */
const FINAL_READ_MS = 3_000;
const CHECK_INTERVAL_MS = 10;

/** Ends a gateway in order: accept no more operations, acknowledge those in flight, send the last counts and `bye`. */
@Injectable()
export class Drain {
  constructor(
    @Inject(Ingest) private readonly ingest: Ingest,
    @Inject(Fanout) private readonly fanout: Fanout,
    @Inject(CountsGateway) private readonly gateway: CountsGateway,
    @Inject(StreamRegistry) private readonly streams: StreamRegistry,
    @Inject(ClosingFlag) private readonly lifecycle: ClosingFlag,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async run(): Promise<void> {
    this.lifecycle.startClosing();
    await this.ingest.drain(COMMIT_LIMIT_MS);
    const connections = [...this.gateway.connections.values()];
    this.fanout.flush(connections.map(({ viewer }) => viewer));
    for (const connection of connections) connection.output.disconnect(GATEWAY_CLOSING, retryAfterMs());
    this.streams.sendByeToAll(GATEWAY_CLOSING, retryAfterMs);
    await this.#waitUntilClosed(FINAL_READ_MS);
  }

  async #waitUntilClosed(limitMs: number): Promise<void> {
    const endMs = this.clock.nowMs() + limitMs;
    while (this.gateway.connections.size + this.streams.size > 0 && this.clock.nowMs() < endMs) {
      await sleep(this.clock, CHECK_INTERVAL_MS);
    }
  }
}

function retryAfterMs(): number {
  return Math.round(Math.random() * RECONNECT_WITHIN_MS);
}
