import type { Crowd } from '../support/clients-crowd.js';
import { until } from '../support/until.js';

/**
 * Resolves when every client has its final transport. A stock client whose connection breaks during its upgrade stops
 * polling, and detects the break only when it has received no ping for 25 s.
 */
export async function untilUpgraded({ clients }: Pick<Crowd, 'clients'>): Promise<void> {
  await until(
    () => clients.every(({ socket: { io } }) => io.engine.transport.name === io.opts.transports?.at(-1)),
    'all upgrades are done',
  );
}
