import type { WebSocket } from 'ws';
import type { SuspicionKind } from '../access/suspicion-log.js';

/** Is called for what the WebSockets of a connection receive beside messages. */
interface ControlListener {
  chargeControl(): void;
  reportSuspicion(kind: SuspicionKind): void;
}

/** The WebSockets of one connection: none, one, or two during an upgrade. They are read and paused together. */
export class ConnectionWebSockets {
  #list: readonly WebSocket[] = [];

  constructor(readonly listener: ControlListener) {}

  get list(): readonly WebSocket[] {
    return this.#list;
  }

  attach(webSocket: WebSocket): void {
    this.#list = [...this.#list, webSocket];
    attachedTo.set(webSocket, this);
    webSocket.on('ping', chargeControl);
    webSocket.on('pong', chargeControl);
    webSocket.on('close', detach);
    webSocket.on('error', reportFragments);
  }

  detach(webSocket: WebSocket): void {
    this.#list = this.#list.filter((other) => other !== webSocket);
  }

  /** @returns a function that resumes those that are attached when it is called */
  pause(): () => void {
    for (const webSocket of this.#list) webSocket.pause();
    return () => {
      for (const webSocket of this.#list) webSocket.resume();
    };
  }

  terminate(): void {
    for (const webSocket of this.#list) webSocket.terminate();
  }
}

const attachedTo = new WeakMap<WebSocket, ConnectionWebSockets>();

// One listener for all WebSockets, because a closure for each would take memory.

function chargeControl(this: WebSocket): void {
  attachedTo.get(this)?.listener.chargeControl();
}

/** `ws` closes the connection after such an error. */
function reportFragments(this: WebSocket, error: Error & { readonly code?: string }): void {
  if (error.code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') attachedTo.get(this)?.listener.reportSuspicion('fragments');
}

function detach(this: WebSocket): void {
  attachedTo.get(this)?.detach(this);
}
