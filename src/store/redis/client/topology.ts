import type { Server } from './server.js';

export interface Redirection {
  readonly server: Server;
  /** Whether the command has to be preceded by ASKING. */
  readonly asking: boolean;
}

/** Which servers there are, and which of them has which slots. */
export interface Topology {
  /** Servers that have slots. */
  readonly servers: ReadonlySet<Server>;
  /** Whether every slot has a server. */
  readonly isComplete: boolean;
  /** Why it is not complete. */
  readonly lastError: string;

  serverForSlot(slot: number): Server | null;

  /** Takes over what the server `from` has replied about a slot; `null` if the error is no redirection. */
  followRedirection(error: unknown, from: Server): Redirection | null;

  /** Reads the topology again: from `first` if it is reachable, else from any other. */
  refresh(first?: Server): void;

  close(): Promise<void>;
}

/** Whether every slot has a server, and every server is connected and answers probes. */
export function isAllReachable({ isComplete, servers }: Topology): boolean {
  return isComplete && [...servers].every(({ isUp }) => isUp);
}
