import { expect } from '@jest/globals';
import type { Socket } from 'socket.io-client';
import { connect } from '../../support/clients.js';
import { type GatewayProcess, startGateway } from '../../support/gateway-process.js';
import { readMetrics } from '../../support/metrics.js';
import { until } from '../../support/until.js';

/** A small heap is collected often, so that readings show used memory, and a leak of some KB an input ends the process. */
const HEAP_MB = 96;
/** Allowed growth over the smallest sample after the first batches: batches vary, and V8 compiles code late. */
const GROWTH_MAX = 1.5;
const WARNING = 40;
const HONEST = 'honest';

/** Series that must be 0 without clients. */
const LEFT_BEHIND = [
  'tallycast_sockets',
  'tallycast_watched_posts',
  'tallycast_viewer_connections',
  'tallycast_pending_operations',
];

/** The built gateway under fuzzed input, and an honest client that keeps making operations. */
export class GatewayUnderFuzz {
  readonly #heap: number[] = [];
  #honest!: Socket;
  #honestViews = 0;
  #handlesBefore = 0;

  private constructor(readonly process: GatewayProcess) {}

  static async start(env: Record<string, string> = {}): Promise<GatewayUnderFuzz> {
    const heap = `--max-old-space-size=${HEAP_MB}`;
    // Short, so that no test waits for keep-alive connections of fetch.
    const brief = { KEEP_ALIVE_MS: '1000' };
    const gateway = await startGateway({ MAX_OPS_PER_CONNECTION: '0', NODE_OPTIONS: heap, ...brief, ...env });
    const fuzzed = new GatewayUnderFuzz(gateway);
    fuzzed.#handlesBefore = (await readMetrics(gateway.url)).get('nodejs_active_handles_total')!;
    fuzzed.#honest = connect(gateway.url, { actor: HONEST });
    return fuzzed;
  }

  get url(): string {
    return this.process.url;
  }

  /** Call it after each batch. @throws Error if the honest client is not served exactly */
  async expectHonestService(): Promise<void> {
    this.#honestViews += 1;
    const answer: unknown = await this.#honest.emitWithAck('view', { post: HONEST });
    expect(answer).toMatchObject({ ok: true, applied: true, counts: { views: this.#honestViews } });
    this.#heap.push((await readMetrics(this.url)).get('nodejs_heap_size_used_bytes')!);
  }

  /**
   * Call it after all inputs, when both sides have closed all connections.
   * @param expected pattern of expected warnings
   */
  async expectNothingLeft(expected = /^$/): Promise<void> {
    this.#honest.close();
    let metrics: ReadonlyMap<string, number> = new Map();
    await until(async () => {
      metrics = await readMetrics(this.url);
      return LEFT_BEHIND.every((name) => metrics.get(name) === 0);
    }, 'no client is left');
    // Keep-alive connections of fetch are handles, too.
    await until(async () => {
      metrics = await readMetrics(this.url);
      return metrics.get('nodejs_active_handles_total')! <= this.#handlesBefore + 8;
    }, 'no handle is left');
    const third = Math.ceil(this.#heap.length / 3);
    const growth = Math.min(...this.#heap.slice(-third)) / Math.min(...this.#heap.slice(0, third));
    expect(growth).toBeLessThan(GROWTH_MAX);
    const warnings = this.process.log
      .map((line) => JSON.parse(line) as { level: number; msg?: string })
      .filter(({ level, msg = '' }) => level >= WARNING && !expected.test(msg));
    expect(warnings).toEqual([]);
  }
}
