import type { Socket } from 'socket.io';
import type { Identity } from '../access/authenticator.js';
import type { Key64 } from '../counters/ids.js';
import type { ByeEvent, MineEvent } from '../protocol/messages.js';

interface SocketData {
  identity: Identity;
  session: Key64 | null;
  address: string;
  /** Whether what the client adds is not counted. */
  isBot: boolean;
  /** Called before socket.io writes an event. */
  output: { beforeEmit(event: string): void };
}

interface Events {
  mine: (event: MineEvent) => void;
  bye: (event: ByeEvent) => void;
}

export type GatewaySocket = Socket<Record<string, never>, Events, Record<string, never>, SocketData>;
