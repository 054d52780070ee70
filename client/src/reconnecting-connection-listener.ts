import type { LiveCountsError } from './errors.js';
import type { ConnectionListener, Transport, TransportConnection } from './transport.js';

export interface ReconnectingConnectionListener extends Pick<ConnectionListener, 'first' | 'received'> {
  opened(connection: TransportConnection, kind: Transport['kind']): void;
  lost(): void;
  /** Sends a request over the open connection. Resolves with the answer, or when the connection has ended. */
  check(): Promise<void>;
  failed(error: LiveCountsError): void;
  /** The gateway rejects this client, and a retry soon would not help. */
  refused(error: LiveCountsError): void;
  /** The page is hidden or left, and may end without another call; also now and then while it is hidden. */
  left(): void;
  /** The page is shown. */
  shown(): void;
}
