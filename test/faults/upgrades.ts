import type { Crowd } from '../support/clients-crowd.js';
import { until } from '../support/until.js';

/**
 * Resolves when every client has the transport that it ends up with. A stock client whose connection breaks in
 * the middle of its upgrade stops polling and notices nothing until no ping has come for 25 s.
 */
export async function untilUpgraded({ clients }: Pick<Crowd, 'clients'>): Promise<void> {
  await until(
    () => clients.every(({ socket: { io } }) => io.engine.transport.name === io.opts.transports?.at(-1)),
    'all upgrades are done',
  );
}
