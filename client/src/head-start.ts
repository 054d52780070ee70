import type { Environment } from './environment.js';
import type { Transport } from './transport.js';

const STORED_NAME = 'tallycast.transport';

/** The transport with which a client begins: the last one that got through, also on the next page of the tab. */
export class HeadStart {
  transport: Transport;

  constructor(
    private readonly transports: readonly Transport[],
    private readonly storage: Environment['sessionStorage'],
  ) {
    let stored: string | null | undefined;
    try {
      stored = storage?.getItem(STORED_NAME);
    } catch {
      // A storage that is blocked is none.
    }
    this.transport = transports.find(({ kind }) => kind === stored) ?? transports[0]!;
  }

  /** Stores only a transport that is not the preferred one: most visitors get no entry. */
  give(transport: Transport): void {
    this.transport = transport;
    try {
      if (transport === this.transports[0]) this.storage?.removeItem(STORED_NAME);
      else this.storage?.setItem(STORED_NAME, transport.kind);
    } catch {
      // It is blocked or full.
    }
  }
}
