import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type RawData, WebSocketServer } from 'ws';
import { HOST } from './processes.js';
import type { Deployment } from './regions.js';

const PUBLISH_INTERVAL_MS = 250;

/**
 * Lets a page pull the cables over a WebSocket, the only way in which pages of a gateway may use other ports. A page gets the
 * regions and the cables whenever they change, and sends `{ from, to, cut }`, or `{ kill }` with the region whose gateway is
 * killed with -9 and started again. Only pages of these regions may connect.
 */
export class Control {
  readonly #server: WebSocketServer;
  #published = '';
  readonly #timer: NodeJS.Timeout;

  constructor(private readonly deployment: Deployment) {
    const origins = new Set(deployment.regions.map(({ url }) => url));
    const verifyClient = ({ origin }: { origin: string }): boolean => origins.has(origin);
    this.#server = new WebSocketServer({ host: HOST, port: 0, verifyClient, maxPayload: 1_024 });
    this.#server.on('connection', (page) => {
      page.send(this.#state());
      page.on('message', (message) => this.#handleRequest(message));
      page.on('error', () => undefined);
    });
    this.#timer = setInterval(() => this.#publish(), PUBLISH_INTERVAL_MS);
  }

  async port(): Promise<number> {
    if (this.#server.address() === null) await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#server.close();
    for (const page of this.#server.clients) page.terminate();
  }

  #handleRequest(message: RawData): void {
    const request = parse(message);
    const cable = this.deployment.cables.find(({ from, to }) => from === request?.['from'] && to === request['to']);
    if (request?.['cut'] === true) cable?.cut('refused');
    if (request?.['cut'] === false) cable?.mend();
    // A gateway that does not start again ends the drill, which reports it.
    const killed = this.deployment.regions.find(({ name }) => name === request?.['kill']);
    if (killed) this.deployment.crash(killed).catch(() => undefined);
    this.#publish();
  }

  #publish(): void {
    const state = this.#state();
    if (state === this.#published) return;
    this.#published = state;
    for (const page of this.#server.clients) page.send(state);
  }

  #state(): string {
    const { regions, cables } = this.deployment;
    return JSON.stringify({
      regions: regions.map(({ name, url, isUp }) => ({ name, url, up: isUp })),
      cables: cables.map(({ from, to, isCut }) => ({ from, to, cut: isCut })),
    });
  }
}

function parse(message: RawData): Readonly<Record<string, unknown>> | null {
  try {
    return JSON.parse((message as Buffer).toString()) as Readonly<Record<string, unknown>> | null;
  } catch {
    return null;
  }
}
