import cluster from 'node:cluster';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { get, type IncomingMessage, type ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import { AggregatorRegistry, type MetricObject, type Registry } from 'prom-client';
import { SOCKETS_VARIABLE, socketPath } from './messages.js';

/** The page leaves out workers that have not responded by then. */
const RESPONSE_LIMIT_MS = 2_000;

/** The metrics of all workers: any of them serves /metrics, and reads those of the others over their sockets. */
export class WorkerMetrics {
  readonly #id = cluster.worker!.id;
  readonly #folder = process.env[SOCKETS_VARIABLE]!;

  constructor(private readonly registry: Registry) {
    // A counter restarts with its worker, so each worker needs its own series: otherwise sums would seem to fall.
    registry.setDefaultLabels({ worker: String(this.#id) });
  }

  async renderPage(): Promise<string> {
    const all = await Promise.all(readdirSync(this.#folder).map((id) => this.#readMetrics(Number(id))));
    return await AggregatorRegistry.aggregate(all.filter((metrics) => metrics !== null)).metrics();
  }

  /** Sends this worker's metrics to another worker. */
  async respond(response: ServerResponse): Promise<void> {
    response.end(JSON.stringify(await this.registry.getMetricsAsJSON()));
  }

  async #readMetrics(worker: number): Promise<MetricObject[] | null> {
    if (worker === this.#id) return await this.registry.getMetricsAsJSON();
    const path = socketPath(this.#folder, worker);
    try {
      const request = get({ socketPath: path, path: '/metrics', signal: AbortSignal.timeout(RESPONSE_LIMIT_MS) });
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      return (await json(response)) as MetricObject[];
    } catch {
      return null;
    }
  }
}
