import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { Settings } from '../config/settings.js';

/**
 * The ports for PORT=0 and OPS_PORT=0. Node closes a port when the last worker on it has ended, and would choose another one for
 * the next worker. So the primary chooses before the first worker starts, and holds the ports until that one listens.
 */
export class HeldPorts {
  readonly #servers: Server[] = [];

  /** @returns the environment variables with these ports, for all workers */
  async hold({ host, port, opsPort }: Settings): Promise<Record<string, string>> {
    return {
      ...(port === 0 && { PORT: await this.#holdOne('PORT', host) }),
      ...(opsPort === 0 && { OPS_PORT: await this.#holdOne('OPS_PORT', host) }),
    };
  }

  /** Frees the ports at once. */
  release(): void {
    for (const server of this.#servers.splice(0)) server.close();
  }

  async #holdOne(variable: string, host: string): Promise<string> {
    // Nobody knows the port yet, so no client of this gateway connects.
    const server = createServer((connection) => connection.destroy()).listen(0, host);
    await once(server, 'listening').catch((error: unknown) => {
      throw new Error(`HOST ${host}, ${variable} 0: ${(error as Error).message}`, { cause: error });
    });
    this.#servers.push(server);
    return String((server.address() as AddressInfo).port);
  }
}
